"""What follows from a plan and the inputs' footers: columns without NULL, columns that tell rows apart, failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    Call,
    Case,
    Cast,
    Column,
    Distinct,
    Expression,
    Filter,
    Join,
    JoinKind,
    Limit,
    Literal,
    Project,
    Reference,
    Relation,
    Scan,
    SetOperation,
    Sort,
    Unnest,
    Window,
    With,
)
from gpuquery.runner.query.sql.rules.statistics import NONE, Statistics
from gpuquery.runner.query.sql.types import FLOATS, INTEGERS, TIMESTAMPS, Kind
from gpuquery.runner.query.sql.walk import columns_used, conjunction, conjuncts, disjuncts, is_value, subexpressions

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})
_NULL_SAFE = frozenset({"is distinct from", "is not distinct from"})
_ARITHMETIC = frozenset({"+", "-", "*", "/", "//", "%"})
_PATTERNS = frozenset({"like", "ilike", "glob", "contains", "starts_with", "ends_with"})
_TEXTS = frozenset({"lower", "upper", "substring", "length", "trim", "ltrim", "rtrim", "left", "right"})
_DATES = frozenset({"year", "month", "day", "date_part", "date_trunc"})
_STRICT = COMPARISONS | _ARITHMETIC | _PATTERNS | _TEXTS | _DATES | {"not", "abs", "round", "floor", "ceil"}
"""Functions that are NULL if any argument is NULL."""
_SAFE = (
    _STRICT
    | {"and", "or", "in", "is null", "is not null", "is distinct from", "is not distinct from", "coalesce", "||"}
    | {"concat", "greatest", "least", "nullif", "sign", "quarter", "dayofweek", "isodow", "week", "hour", "minute"}
)
"""Functions that give a value, or NULL, for whatever they are given. `//` and `%` fail where the divisor is 0."""
_VOLATILE = frozenset({"random", "uuid", "gen_random_uuid", "nextval", "error"})


def strict_columns(node: Expression) -> set[int]:
    """Return columns whose NULL makes the expression NULL."""
    match node:
        case Column():
            return {node.index}
        case Cast():
            return strict_columns(node.input)
        case Call(function="in", arguments=(value, *_)):
            return strict_columns(value)
        case Call(function=function, arguments=arguments) if function in _STRICT:
            return set().union(*(strict_columns(part) for part in arguments))
        case _:
            return set()


def null_rejected_columns(condition: Expression) -> set[int]:
    """Return columns whose NULL keeps the condition from being TRUE."""
    match condition:
        case Call(function="and", arguments=arguments):
            return set().union(*(null_rejected_columns(part) for part in arguments))
        case Call(function="or"):
            return set.intersection(*(null_rejected_columns(part) for part in disjuncts(condition)))
        case Call(function="is not null", arguments=(value,)):
            return strict_columns(value)
        case Call(function="is not distinct from", arguments=(left, right)):
            sides = [strict_columns(a) for a, b in ((left, right), (right, left)) if is_value(b)]
            return set().union(*sides)
        case _:
            return strict_columns(condition)


def can_fail(node: Expression) -> bool:
    """Whether the expression may fail for some value, so that it must not see rows that others would keep from it.

    Overflow of arithmetic does not count here: DuckDB and PostgreSQL move such conditions, too.
    """
    return any(_fails(part) for part in subexpressions(node))


def _fails(node: Expression) -> bool:
    match node:
        case Cast():
            return not (node.null_on_failure or isinstance(node.input, Literal) or widens(node))
        case Call(function="//" | "%", arguments=(_, by)):
            return not (isinstance(by, Literal) and by.value)
        case Call():
            return node.function not in _SAFE
        case _:
            return False


def with_filters(node: Relation, conditions: Sequence[Expression]) -> Relation:
    """Return the rows for which all conditions are TRUE.

    What may fail, or overflow, comes after all else, in filters of its own: within one condition the compiler has to
    guard it by the others, and what is guarded does not reach the inputs' footers.
    """
    safe = [condition for condition in conditions if not _may_overflow(condition)]
    found = Filter(node, conjunction(safe)) if safe else node
    for condition in conditions:
        if _may_overflow(condition):
            found = Filter(found, condition)
    return found


def _may_overflow(node: Expression) -> bool:
    parts = list(subexpressions(node))
    return any(_fails(part) or (isinstance(part, Call) and part.function in _ARITHMETIC) for part in parts)


def widens(node: Cast) -> bool:
    """Whether every value of the one type has a counterpart in the other one."""
    old, new = node.input.type, node.type
    if old == new or new.kind is Kind.TEXT or old.kind in (Kind.NULL, Kind.BOOLEAN):
        return True
    if old.range is not None and new.range is not None:
        return new.range[0] <= old.range[0] and old.range[1] <= new.range[1]
    if new.kind in FLOATS:
        return old.kind in INTEGERS or old.kind in FLOATS or old.kind is Kind.DECIMAL
    if new.kind is Kind.DECIMAL:
        whole = new.precision - new.scale
        if old.range is not None:
            return len(str(max(abs(old.range[0]), old.range[1]))) <= whole
        return old.kind is Kind.DECIMAL and old.precision - old.scale <= whole
    return old.kind is Kind.DATE and new.kind in TIMESTAMPS


def is_volatile(node: Expression) -> bool:
    """Whether it must be computed where it stands, and as often as it stands there."""
    return any(isinstance(part, Call) and part.function in _VOLATILE for part in subexpressions(node))


class Facts:
    """What is proven of the relations of one plan. A relation of a With must be told before its references."""

    def __init__(self, statistics: Statistics | None) -> None:
        self._statistics = statistics or NONE
        self._full: dict[int, tuple[Relation, frozenset[int]]] = {}
        self._shared: dict[int, Relation] = {}

    def share(self, number: int, shared: Relation) -> None:
        """Remember what the references to a number stand for."""
        self._shared[number] = shared

    def never_null(self, node: Relation) -> frozenset[int]:
        """Return positions of columns that have no NULL."""
        known = self._full.get(id(node))
        if known is None:
            known = node, frozenset(self._find_full(node))
            self._full[id(node)] = known
        return known[1]

    def is_never_null(self, value: Expression, below: Relation) -> bool:
        """Whether a value over a relation is never NULL."""
        match value:
            case Literal():
                return value.value is not None
            case Column():
                return value.index in self.never_null(below)
            case Cast():
                return not value.null_on_failure and self.is_never_null(value.input, below)
            case Call(function="is null" | "is not null" | "is distinct from" | "is not distinct from"):
                return True
            case Call(function=function, arguments=arguments) if function in _FULL_OF_FULL:
                return all(self.is_never_null(part, below) for part in arguments)
            case Call(function="coalesce", arguments=arguments):
                return any(self.is_never_null(part, below) for part in arguments)
            case Case():
                values = [value.otherwise, *(result for _, result in value.branches)]
                return all(self.is_never_null(result, below) for result in values)
            case _:
                return False

    def _find_full(self, node: Relation) -> set[int]:
        match node:
            case Scan():
                names = [field.name for field in node.columns]
                return {i for i, name in enumerate(names) if self._statistics.column(node.table, name).nulls == 0}
            case Filter():
                return set(self.never_null(node.input)) | null_rejected_columns(node.condition)
            case Project():
                return {i for i, item in enumerate(node.items) if self.is_never_null(item.value, node.input)}
            case Join():
                return self._of_join(node)
            case Aggregate():
                return self._of_aggregate(node)
            case Sort() | Limit() | Distinct() | Window() | Unnest():
                return set(self.never_null(node.input))
            case SetOperation():
                return set.intersection(*(set(self.never_null(side)) for side in node.sides))
            case With():
                self.share(node.number, node.shared)
                return set(self.never_null(node.body))
            case Reference() if node.number in self._shared:
                return set(self.never_null(self._shared[node.number]))
            case _:
                return set()

    def _of_join(self, node: Join) -> set[int]:
        width = len(node.left.fields)
        left = set(self.never_null(node.left)) if node.kind not in (JoinKind.RIGHT, JoinKind.FULL) else set()
        if node.kind in (JoinKind.SEMI, JoinKind.ANTI, JoinKind.MARK):
            return left
        kept = node.kind in (JoinKind.INNER, JoinKind.RIGHT)
        right = {width + i for i in self.never_null(node.right)} if kept else set()
        if node.kind is JoinKind.INNER:
            strict = [m for m in node.matches if m.operator in COMPARISONS]
            left |= set().union(*(strict_columns(m.left) for m in strict))
            right |= {width + i for m in strict for i in strict_columns(m.right)}
            left |= set().union(*(null_rejected_columns(part) for part in conjuncts(node.condition)))
        return left | right

    def _of_aggregate(self, node: Aggregate) -> set[int]:
        whole = node.sets is None
        keys = {i for i, key in enumerate(node.keys) if whole and self.is_never_null(key.value, node.input)}
        first = len(node.keys)
        counts = {first + i for i, call in enumerate(node.calls) if call.function in ("count", "count_star")}
        return keys | counts

    def is_unique(self, node: Relation, columns: set[int]) -> bool:
        """Whether no two rows have equal values in these columns, NULLs being equal."""
        match node:
            case Filter() | Sort() | Limit():
                return self.is_unique(node.input, columns)
            case Distinct():
                if node.on:
                    found = columns_used(*node.on)
                    return all(isinstance(key, Column) for key in node.on) and found <= columns
                return columns >= set(range(len(node.fields))) or self.is_unique(node.input, columns)
            case Project():
                below = {v.index for i in columns if isinstance(v := node.items[i].value, Column)}
                return self.is_unique(node.input, below)
            case Aggregate():
                return node.sets is None and set(range(len(node.keys))) <= columns
            case SetOperation():
                return not node.all and columns >= set(range(len(node.fields)))
            case Join(kind=JoinKind.SEMI | JoinKind.ANTI | JoinKind.MARK):
                return self.is_unique(node.left, columns)
            case With():
                self.share(node.number, node.shared)
                return self.is_unique(node.body, columns)
            case Reference() if node.number in self._shared:
                return self.is_unique(self._shared[node.number], columns)
            case _:
                return False

    def is_one_row(self, node: Relation) -> bool:
        """Whether it has at most one row."""
        return self.is_unique(node, set()) or (isinstance(node, Limit) and (node.count or 2) <= 1)

    def unique_right(self, node: Join) -> bool:
        """Whether no row of the left side can have more than one match."""
        keys = [m.right for m in node.matches if m.operator in ("=", "is not distinct from")]
        return self.is_unique(node.right, column_positions(keys))


_FULL_OF_FULL = COMPARISONS | {"and", "or", "not", "in", "+", "-", "*", "||"}


def column_positions(nodes: Sequence[Expression]) -> set[int]:
    """Return the positions of those that are columns."""
    return {node.index for node in nodes if isinstance(node, Column)}
