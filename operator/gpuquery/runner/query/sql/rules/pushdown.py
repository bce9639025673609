"""Conditions go as far down as they may: to the inputs, into keys of joins, into the shared parts of a plan.

One walk from the top carries the conditions that hold above a relation. A condition that must stay becomes a filter
there. What an OR says of one side of a join is told to that side too, as a weaker condition.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.plan import (
    Aggregate,
    Call,
    Column,
    Distinct,
    Expression,
    Filter,
    Item,
    Join,
    JoinKind,
    Match,
    Project,
    Reference,
    Relation,
    SetOperation,
    Sort,
    Unnest,
    Window,
    With,
)
from gpuquery.runner.query.sql.rules.facts import (
    Facts,
    can_fail,
    column_positions,
    is_volatile,
    null_rejected_columns,
    with_filters,
)
from gpuquery.runner.query.sql.rules.fold import simplified_predicate
from gpuquery.runner.query.sql.rules.marks import semi_or_anti_join
from gpuquery.runner.query.sql.walk import (
    EQUALITIES,
    FLIPPED,
    columns_used,
    conjunction,
    conjuncts,
    disjunction,
    disjuncts,
    empty_relation,
    is_never_true,
    renumbered,
    shifted,
    substituted,
    unique,
    with_inputs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_OPERATORS = EQUALITIES | {"<>", "is distinct from"} | set(FLIPPED)


def pushed_down(node: Relation, facts: Facts) -> Relation:
    """Return the relation with its conditions as low as they may stand."""
    return _Pushdown(facts).push(node, [])


def implied_predicate(condition: Expression, allowed: Callable[[set[int]], bool]) -> Expression | None:
    """Return what an OR says of some columns alone: of (a = 1 AND b = 2) OR a = 3 that a = 1 OR a = 3."""
    branches = disjuncts(condition)
    if len(branches) < 2:
        return None
    branch_predicates = []
    for branch in branches:
        parts = [part for part in conjuncts(branch) if allowed(columns_used(part)) and not can_fail(part)]
        if not parts:
            return None
        branch_predicates.append(conjunction(parts))
    return simplified_predicate(disjunction(unique(branch_predicates)))


def as_match(condition: Expression, width: int) -> Match | None:
    """Return a comparison of a join's left side, of so many columns, with its right side as a match."""
    if not isinstance(condition, Call) or condition.function not in _OPERATORS:
        return None
    first, second = condition.arguments
    function = condition.function
    here, there = columns_used(first), columns_used(second)
    if not here or not there:
        return None
    if min(here) >= width:
        first, second, here, there = second, first, there, here
        function = FLIPPED.get(function, function)
    if max(here) < width <= min(there):
        return Match(first, shifted(second, -width), function)
    return None


class _Sides:
    """Conditions over a join, told apart by the side that they are about."""

    def __init__(self, conditions: Iterable[Expression], width: int) -> None:
        self.left: list[Expression] = []
        self.right: list[Expression] = []
        self.both: list[Expression] = []
        for condition in conditions:
            used = columns_used(condition)
            if can_fail(condition) or (used and min(used) < width <= max(used)):
                self.both.append(condition)
            elif used and min(used) >= width:
                self.right.append(shifted(condition, -width))
            else:
                self.left.append(condition)


class _Pushdown:
    """One walk. It knows the conditions of each use of the shared parts that it has seen."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._uses: dict[int, list[list[Expression]]] = {}

    def push(self, node: Relation, conditions: Sequence[Expression]) -> Relation:  # noqa: PLR0912
        """Return the rows of the relation for which all conditions are TRUE."""
        if any(is_never_true(condition) for condition in conditions):
            return empty_relation(node)
        match node:
            case Filter():
                return self._filter(node, conditions)
            case Project():
                return self._project(node, conditions)
            case Join():
                return self._join(node, conditions)
            case Aggregate():
                return self._aggregate(node, conditions)
            case Window():
                keys = [column_positions(call.partition) for call in node.calls]
                return self._through(node, conditions, set.intersection(*keys))
            case Unnest():
                return self._through(node, conditions, set(range(len(node.input.fields))))
            case Sort():
                return self._through(node, conditions, set(range(len(node.fields))))
            case Distinct():
                allowed = column_positions(node.on) if node.on else set(range(len(node.fields)))
                return self._through(node, conditions, allowed)
            case SetOperation():
                return self._set_operation(node, conditions)
            case With():
                return self._with(node, conditions)
            case Reference():
                self._uses.setdefault(node.number, []).append(list(conditions))
                return with_filters(node, conditions)
            case _:
                inside = [self.push(below, []) for below in node.inputs]
                return with_filters(with_inputs(node, inside), conditions)

    def _filter(self, node: Filter, conditions: Sequence[Expression]) -> Relation:
        """Join the conditions of a filter to those above, but for what may fail: the filter may keep rows from it."""
        kept = [condition for condition in conditions if can_fail(condition)]
        moved = [condition for condition in conditions if not can_fail(condition)]
        return with_filters(self.push(node.input, unique([*conjuncts(node.condition), *moved])), kept)

    def _through(self, node: Relation, conditions: Sequence[Expression], allowed: set[int]) -> Relation:
        """Push what is about some of the columns below, which have the same positions there; keep the others."""
        below, kept = _split(conditions, allowed)
        return with_filters(with_inputs(node, [self.push(node.inputs[0], below)]), kept)

    def _project(self, node: Project, conditions: Sequence[Expression]) -> Relation:
        values = [item.value for item in node.items]
        fixed = {i for i, value in enumerate(values) if not (is_volatile(value) or can_fail(value))}
        fixed |= positions_of_columns(values)
        below = [c for c in conditions if columns_used(c) <= fixed]
        kept = [c for c in conditions if not columns_used(c) <= fixed]
        inside = [part for c in below for part in conjuncts(simplified_predicate(substituted(c, values)))]
        return with_filters(with_inputs(node, [self.push(node.input, unique(inside))]), kept)

    def _aggregate(self, node: Aggregate, conditions: Sequence[Expression]) -> Relation:
        keys = set(range(len(node.keys)))
        for chosen in node.sets or ():
            keys &= set(chosen)
        below, kept = _split(conditions, keys) if keys else ([], list(conditions))
        values = [item.value for item in node.keys]
        inside = [part for c in below for part in conjuncts(simplified_predicate(substituted(c, values)))]
        return with_filters(with_inputs(node, [self.push(node.input, unique(inside))]), kept)

    def _set_operation(self, node: SetOperation, conditions: Sequence[Expression]) -> Relation:
        below, kept = _split(conditions, set(range(len(node.fields))))
        return with_filters(with_inputs(node, [self.push(side, below) for side in node.sides]), kept)

    def _with(self, node: With, conditions: Sequence[Expression]) -> Relation:
        self._facts.share(node.number, node.shared)
        body = self.push(node.body, conditions)
        uses = self._uses.pop(node.number, [])
        implied: list[Expression] = []
        if uses:
            safe = [[c for c in use if not can_fail(c)] for use in uses]
            either = simplified_predicate(disjunction(unique([conjunction(use) for use in safe])))
            implied = conjuncts(either)
        shared = self.push(node.shared, implied)
        self._facts.share(node.number, shared)
        return with_inputs(node, [shared, body])

    # Joins

    def _join(self, node: Join, conditions: Sequence[Expression]) -> Relation:
        if node.asof:
            left, kept = _split(conditions, set(range(len(node.left.fields))))
            sides = [self.push(node.left, left), self.push(node.right, [])]
            return with_filters(with_inputs(node, sides), kept)
        match node.kind:
            case JoinKind.INNER:
                return self._inner(node, conditions)
            case JoinKind.LEFT | JoinKind.SINGLE:
                return self._left(node, conditions)
            case JoinKind.RIGHT:
                return self.push(_right_as_left_join(node), conditions)
            case JoinKind.FULL:
                return self._full(node, conditions)
            case JoinKind.SEMI | JoinKind.ANTI:
                return self._semi(node, conditions)
            case _:
                return self._mark(node, conditions)

    def _inner(self, node: Join, conditions: Sequence[Expression]) -> Relation:
        width = len(node.left.fields)
        every = unique([*conditions, *conjuncts(node.condition)])
        sides = _Sides(every, width)
        matches, rest = list(node.matches), []
        for condition in sides.both:
            found = None if can_fail(condition) else as_match(condition, width)
            if found is not None and found.operator in EQUALITIES:
                matches.append(found)
                continue
            rest.append(condition)
            implied = implied_predicate(condition, lambda used: bool(used) and max(used) < width)
            sides.left += conjuncts(implied)
            implied = implied_predicate(condition, lambda used: bool(used) and min(used) >= width)
            sides.right += [shifted(part, -width) for part in conjuncts(implied)]
        matches = list(dict.fromkeys(matches))
        _copy_across_equal_columns(matches, sides, both=True)
        left = self.push(node.left, unique(sides.left))
        right = self.push(node.right, unique(sides.right))
        matches = [self._plain(match, left, right) for match in matches]
        return with_filters(Join(left, right, matches=tuple(matches)), rest)

    def _plain(self, match: Match, left: Relation, right: Relation) -> Match:
        """Return a match that need not look at NULLs if one side has none."""
        if match.operator == "is not distinct from" and (
            self._facts.is_never_null(match.left, left) or self._facts.is_never_null(match.right, right)
        ):
            return match._replace(operator="=")
        return match

    def _left(self, node: Join, conditions: Sequence[Expression]) -> Relation:
        width = len(node.left.fields)
        single = node.kind is JoinKind.SINGLE
        if single and self._facts.unique_right(node):
            return self.push(replace(node, kind=JoinKind.LEFT), conditions)
        if not single and any(max(null_rejected_columns(condition), default=-1) >= width for condition in conditions):
            return self.push(replace(node, kind=JoinKind.INNER), conditions)
        above = _Sides(conditions, width)
        kept = [*above.both, *(shifted(condition, width) for condition in above.right)]
        on = _Sides(conjuncts(node.condition), width)
        on.left, of_left = list(above.left), on.left
        matches, rest = self._on(node, on)
        _copy_across_equal_columns(matches, on, both=False)
        condition = conjunction([*of_left, *rest]) if of_left or rest else None
        left, right = self.push(node.left, unique(on.left)), self.push(node.right, unique(on.right))
        matches = [self._plain(match, left, right) for match in matches]
        new = replace(node, left=left, right=right, matches=tuple(matches), condition=condition)
        return with_filters(new, unique(kept))

    def _on(self, node: Join, on: _Sides) -> tuple[list[Match], list[Expression]]:
        """Return matches, with those that the condition holds, and what of the condition is none."""
        width = len(node.left.fields)
        matches, rest = list(node.matches), []
        for condition in on.both:
            found = as_match(condition, width)
            if found is not None and found.operator in EQUALITIES:
                matches.append(found)
            else:
                rest.append(condition)
                implied = implied_predicate(condition, lambda used: bool(used) and min(used) >= width)
                on.right += [shifted(part, -width) for part in conjuncts(implied)]
        return list(dict.fromkeys(matches)), rest

    def _full(self, node: Join, conditions: Sequence[Expression]) -> Relation:
        width = len(node.left.fields)
        needed = set().union(*(null_rejected_columns(condition) for condition in conditions))
        left, right = any(i < width for i in needed), any(i >= width for i in needed)
        if left or right:
            kind = JoinKind.INNER if left and right else JoinKind.LEFT if left else JoinKind.RIGHT
            return self.push(replace(node, kind=kind), conditions)
        sides = [self.push(node.left, []), self.push(node.right, [])]
        return with_filters(with_inputs(node, sides), conditions)

    def _semi(self, node: Join, conditions: Sequence[Expression]) -> Relation:
        width = len(node.left.fields)
        above, kept = _split(conditions, set(range(width)))
        on = _Sides(conjuncts(node.condition), width)
        stays = on.left if node.kind is JoinKind.ANTI else []
        on.left = [*above, *(on.left if node.kind is JoinKind.SEMI else [])]
        matches, rest = self._on(node, on)
        _copy_across_equal_columns(matches, on, both=node.kind is JoinKind.SEMI)
        condition = conjunction([*stays, *rest]) if stays or rest else None
        left, right = self.push(node.left, unique(on.left)), self.push(node.right, unique(on.right))
        matches = [self._plain(match, left, right) for match in matches]
        new = replace(node, left=left, right=right, matches=tuple(matches), condition=condition)
        return with_filters(new, kept)

    def _mark(self, node: Join, conditions: Sequence[Expression]) -> Relation:
        new = semi_or_anti_join(node, conditions, self._facts)
        if new is not None:
            return self.push(new, conditions)
        left, kept = _split(conditions, set(range(len(node.left.fields))))
        sides = [self.push(node.left, left), self.push(node.right, [])]
        return with_filters(with_inputs(node, sides), kept)


def positions_of_columns(values: Sequence[Expression]) -> set[int]:
    """Return at which positions a projection has columns as they are."""
    return {i for i, value in enumerate(values) if isinstance(value, Column)}


def _split(conditions: Sequence[Expression], allowed: set[int]) -> tuple[list[Expression], list[Expression]]:
    """Return what may be asked of these columns alone, below, and what must stay."""
    below: list[Expression] = []
    kept: list[Expression] = []
    for condition in conditions:
        if can_fail(condition):
            kept.append(condition)
        elif columns_used(condition) <= allowed:
            below.append(condition)
        else:
            kept.append(condition)
            below += conjuncts(implied_predicate(condition, lambda used: bool(used) and used <= allowed))
    return below, kept


def _copy_across_equal_columns(matches: Sequence[Match], sides: _Sides, *, both: bool) -> None:
    """Tell each side what the other one knows of a column that is equal: a = b AND a = 5 says that b = 5."""
    pairs = [
        (m.left.index, m.right.index)
        for m in matches
        if m.operator in EQUALITIES
        and isinstance(m.left, Column)
        and isinstance(m.right, Column)
        and m.left.type == m.right.type
    ]
    if not pairs:
        return
    left, right = list(sides.left), list(sides.right)
    for here, there in pairs:
        sides.right += [renumbered(c, {here: there}.__getitem__) for c in left if columns_used(c) == {here}]
        if both:
            sides.left += [renumbered(c, {there: here}.__getitem__) for c in right if columns_used(c) == {there}]


def _right_as_left_join(node: Join) -> Relation:
    """Return a RIGHT join as a LEFT join with its columns put in order again."""
    left, right = len(node.left.fields), len(node.right.fields)
    condition = node.condition and renumbered(node.condition, lambda i: i + right if i < left else i - left)
    matches = tuple(Match(m.right, m.left, FLIPPED.get(m.operator, m.operator)) for m in node.matches)
    new = Join(node.right, node.left, JoinKind.LEFT, matches, condition)
    items = [
        Item(Column(type=field.type, index=i + right if i < left else i - left), field.name)
        for i, field in enumerate(node.fields)
    ]
    return Project(new, tuple(items))
