"""Which columns of a relation follow from others of it, by what the statement itself says of its rows.

Two rows that are equal in the given columns are equal in all that follow from them. A group follows from its keys, the
match of a join from what it is matched by, a computed column from what it is made of. Nothing is known of the inputs:
they have no keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    Column,
    Distinct,
    Exclude,
    Filter,
    FrameUnit,
    Join,
    JoinKind,
    Limit,
    Project,
    Reference,
    Relation,
    SetKind,
    SetOperation,
    Sort,
    Unnest,
    Values,
    Window,
    WindowCall,
    With,
)
from gpuquery.runner.query.sql.walk import EQUALITIES, columns_used, relations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuquery.runner.query.sql.plan import Expression

NUMBERED = frozenset({"row_number", "ntile", "lag", "lead", "fill"})
"""Window functions that tell rows apart which their order does not."""
_OUTER = (JoinKind.LEFT, JoinKind.SINGLE)


def columns(values: Iterable[Expression]) -> set[int]:
    """Return the positions of those values that are columns as they are."""
    return {value.index for value in values if isinstance(value, Column)}


def everything(node: Relation) -> set[int]:
    """Return the positions of all columns."""
    return set(range(len(node.fields)))


def by_rows(call: WindowCall) -> bool:
    """Whether a window's frame counts rows, so that rows which are equal by its order see other ones."""
    frame = call.frame
    if frame is None or (frame.start.unbounded and frame.end.unbounded and frame.exclude is Exclude.NO_OTHERS):
        return False
    return frame.unit is FrameUnit.ROWS or frame.exclude is not Exclude.NO_OTHERS


class Dependence:
    """The columns of the relations of one statement."""

    def __init__(self, root: Relation) -> None:
        self._shared = {node.number: node.shared for node in relations(root) if isinstance(node, With)}
        self._seen: dict[tuple[int, frozenset[int]], set[int]] = {}

    def covers(self, node: Relation, given: set[int]) -> bool:
        """Whether all columns of a relation follow from some of them."""
        return self.of(node, given) == everything(node)

    def of(self, node: Relation, given: set[int]) -> set[int]:
        """Return the given columns and those that follow from them."""
        asked = id(node), frozenset(given)
        if (known := self._seen.get(asked)) is None:
            known = self._seen[asked] = self._found(node, given)
        return set(known)

    def _found(self, node: Relation, given: set[int]) -> set[int]:  # noqa: PLR0912
        match node:
            case Limit() if node.count in (0, 1):
                return everything(node)
            case Values() if len(node.rows) < 2:
                return everything(node)
            case Sort() | Limit() | Filter():
                return self.of(node.input, given)
            case Project():
                found = self.of(node.input, columns(node.items[i].value for i in given))
                return given | {i for i, item in enumerate(node.items) if columns_used(item.value) <= found}
            case Distinct():
                found = self.of(node.input, given)
                return everything(node) if node.on and columns_used(*node.on) <= found else found
            case Aggregate() if node.sets is None:
                return self._of_groups(node, given)
            case Window():
                return self._of_window(node, given)
            case Join():
                return self._of_join(node, given)
            case Unnest():
                return given | self.of(node.input, given & everything(node.input))
            case With():
                return self.of(node.body, given)
            case Reference() if node.number in self._shared:
                return self.of(self._shared[node.number], given)
            case SetOperation() if node.kind is not SetKind.UNION:
                return self.of(node.sides[0], given)
            case _:
                return given

    def _of_groups(self, node: Aggregate, given: set[int]) -> set[int]:
        keys = [item.value for item in node.keys]
        found = self.of(node.input, columns(keys[i] for i in given if i < len(keys)))
        known = given | {i for i, key in enumerate(keys) if columns_used(key) <= found}
        return everything(node) if known >= set(range(len(keys))) else known

    def _of_window(self, node: Window, given: set[int]) -> set[int]:
        width = len(node.input.fields)
        found = self.of(node.input, given & everything(node.input)) | given
        for at, call in enumerate(node.calls, width):
            if call.function == "row_number" and at in given and columns_used(*call.partition) <= found:
                return everything(node)  # a number is there once in its partition
            around = columns_used(*call.partition, *(key.value for key in call.order))
            if call.function not in NUMBERED and not by_rows(call) and around <= found:
                found.add(at)
        return found

    def _of_join(self, node: Join, given: set[int]) -> set[int]:
        width = len(node.left.fields)
        left = self.of(node.left, {i for i in given if i < width})
        right = {i - width for i in given if i >= width}
        equal = [match for match in node.matches if match.operator in EQUALITIES]
        whole = left == everything(node.left)
        match node.kind:
            case JoinKind.SEMI | JoinKind.ANTI:
                return left
            case JoinKind.MARK:
                return left | ({width} if whole else set()) | given
            case _ if node.asof and whole:
                return everything(node)
            case JoinKind.INNER:
                left, right = self._matched(node, left, right)
            case kind if kind in _OUTER:
                same = all(columns_used(match.left) <= left for match in node.matches) and node.condition is None
                if whole or same:
                    met = columns(match.right for match in equal if columns_used(match.left) <= left)
                    right |= self.of(node.right, met)
            case _:  # a row without a match is NULL where others have a value
                return given
        return left | {i + width for i in right}

    def _matched(self, node: Join, left: set[int], right: set[int]) -> tuple[set[int], set[int]]:
        """Return what follows on both sides of an inner join, where equal values follow from each other."""
        while True:
            before = len(left) + len(right)
            for match in node.matches:
                if match.operator not in EQUALITIES:
                    continue
                if columns_used(match.left) <= left:
                    right = right | columns([match.right])
                if columns_used(match.right) <= right:
                    left = left | columns([match.left])
            left, right = self.of(node.left, left), self.of(node.right, right)
            if len(left) + len(right) == before:
                return left, right
