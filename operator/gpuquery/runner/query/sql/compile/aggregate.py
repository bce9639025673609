"""Groups and what is computed of them: keys, grouping sets, GROUPING()."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile import aggregate_functions, expression
from gpuquery.runner.query.sql.compile.aggregate_functions_basic import MAY_OVERFLOW
from gpuquery.runner.query.sql.compile.aggregate_parts import split
from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.compile.groups import GroupKey, group_rows
from gpuquery.runner.query.sql.compile.names import unique_name, unique_names
from gpuquery.runner.query.sql.compile.rows import ROW
from gpuquery.runner.query.sql.compile.values import Compiled, Value, dtype_of
from gpuquery.runner.query.sql.plan import Call
from gpuquery.runner.query.sql.types import BIGINT, BOOLEAN
from gpuquery.runner.query.sql.walk import columns_used

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.plan import Aggregate, AggregateCall, Expression

_PLAIN = frozenset({"sum", "avg", "count", "min", "max"})
"""Functions that Polars 1.38 to 1.44 compute within the streaming engine; most others make it group in memory."""


def aggregate(node: Aggregate, below: Compiled, target: Target) -> Compiled:
    """Compile groups: the keys, the calls, then the GROUPING() numbers."""
    fields = node.fields
    names = unique_names(field.name for field in fields)
    types = tuple(field.type for field in fields)
    columns = _Columns(below, target, not target.gpu and _is_streamed(node))
    keys = [columns.name(item.value, item.name) for item in node.keys]
    sets = [tuple(dict.fromkeys(chosen)) for chosen in node.sets or (tuple(range(len(keys))),)]
    groups = _in_parts(node, columns, keys, names, sets)
    if groups is None:
        calls = [_call(call, columns) for call in node.calls]
        groups = _Groups(node, columns.frame, target, keys, calls, names)
    frames = [groups.rows(chosen) for chosen in sets]
    return Compiled(frames[0] if len(frames) == 1 else pl.concat(frames), names, types)


def _in_parts(
    node: Aggregate, columns: _Columns, keys: Sequence[str], names: Sequence[str], sets: Sequence[tuple[int, ...]]
) -> _Groups | None:
    """Return groups over the rows of one grouping by all keys, if that is one of the sets and all calls can be so."""
    every = set(range(len(keys)))
    splits = [split(call, columns.target) for call in node.calls]
    if len(sets) < 2 or not every or not any(set(chosen) == every for chosen in sets) or None in splits:
        return None
    found = [one for one in splits if one is not None]
    parts = [part for one in found for part in one.parts]
    tags = unique_names(["part"] * len(parts), {*keys, *names})
    made = [_call(part, columns).alias(tag) for part, tag in zip(parts, tags, strict=True)]
    by = {key: GroupKey(key, key, item.value.type) for key, item in zip(keys, node.keys, strict=True)}
    frame = group_rows(columns.frame, list(by.values()), made, columns.target)
    ends = list(itertools.accumulate((len(one.parts) for one in found), initial=0))
    of_call = [tags[start:end] for start, end in itertools.pairwise(ends)]
    merged = [one.merged(own, columns.target) for one, own in zip(found, of_call, strict=True)]
    whole = [one.whole(own) for one, own in zip(found, of_call, strict=True)]
    return _Groups(node, frame, columns.target, keys, merged, names, whole)


@dataclass
class _Columns:
    """What groups are made of, as columns of the frame below them: each is computed once, whoever uses it.

    Polars 1.44 crashes on some aggregates of larger expressions, and cudf-polars 26.10 takes columns only.
    """

    below: Compiled
    target: Target
    streams: bool
    """Whether the streaming engine groups by itself, as it does if every call is a plain one."""
    made: dict[Expression, Value] = field(default_factory=dict)
    """The expressions that are no columns there already."""
    exprs: list[pl.Expr] = field(default_factory=list)
    """What computes them."""

    def value(self, node: Expression, hint: str = "value") -> Value:
        """Return an expression as a column; a constant of the text stays one."""
        if node in self.made:
            return self.made[node]
        value = expression.expression(node, self.below.values(), self.target)
        if value.expr.meta.is_column() or value.literal is not None:
            return value
        return self._add(node, value, hint)

    def column(self, node: Expression, hint: str) -> Value:
        """Return an expression as a column; a constant is one too."""
        value = self.value(node, hint)
        return value if value.expr.meta.is_column() else self._add(node, value, hint)

    def name(self, node: Expression, hint: str) -> str:
        """Return the name of an expression's column; a constant is one too."""
        return self.column(node, hint).expr.meta.output_name()

    def _add(self, node: Expression, value: Value, hint: str) -> Value:
        name = unique_name(hint, {*self.below.names, *(one.expr.meta.output_name() for one in self.made.values())})
        self.exprs.append(value.expr.alias(name))
        self.made[node] = Value(pl.col(name), value.type)
        return self.made[node]

    @property
    def frame(self) -> pl.LazyFrame:
        """Return the frame below with the columns that were asked for."""
        return self.below.frame.with_columns(self.exprs) if self.exprs else self.below.frame


@dataclass(frozen=True)
class _Groups:
    """What the groups of all sets have in common."""

    node: Aggregate
    below: pl.LazyFrame
    target: Target
    keys: Sequence[str]
    calls: Sequence[pl.Expr]
    names: Sequence[str]
    whole: Sequence[pl.Expr] | None = None
    """The calls for rows that are groups by all keys already."""

    def rows(self, chosen: tuple[int, ...]) -> pl.LazyFrame:
        """Return the rows of one grouping set, with all columns."""
        if not self.names:  # one row, without columns
            return pl.LazyFrame({ROW: [0]})
        width = len(self.keys)
        by = [GroupKey(self.keys[i], self.names[i], self.node.keys[i].value.type) for i in chosen]
        made = [call.alias(name) for call, name in zip(self.calls, self.names[width:], strict=False)]
        if self.whole is not None and set(chosen) == set(range(width)):
            whole = [value.alias(name) for value, name in zip(self.whole, self.names[width:], strict=False)]
            frame = self.below.select(*(pl.col(key.column).alias(key.name) for key in by), *whole)
        elif by:
            frame = group_rows(self.below, by, made, self.target)
        else:
            frame = self.below.select(made or [pl.len().alias(unique_name("rows", self.names))])
        return frame.with_columns(self._constants(chosen)).select(self.names)

    def _constants(self, chosen: tuple[int, ...]) -> list[pl.Expr]:
        """Return NULL for the keys that are not in the set, and the GROUPING() numbers."""
        fields = self.node.fields
        nulls = [
            pl.lit(None, dtype=dtype_of(fields[i].type)).alias(self.names[i])
            for i in range(len(self.keys))
            if i not in chosen
        ]
        first = len(self.keys) + len(self.calls)
        bits = [
            sum(1 << (len(one) - 1 - at) for at, key in enumerate(one) if key not in chosen)
            for one in self.node.groupings
        ]
        numbers = zip(bits, self.names[first:], strict=True)
        return [*nulls, *(pl.lit(bit, dtype=dtype_of(BIGINT)).alias(name) for bit, name in numbers)]


def _call(call: AggregateCall, columns: _Columns) -> pl.Expr:
    arguments = [columns.value(argument) for argument in call.arguments]
    order = [(columns.value(key.value), key) for key in call.order]
    chosen = None
    if call.filter is not None and not _always(columns.value(call.filter, "condition")):
        # a constant too becomes a column: Polars takes it for one row, and would count that
        condition = columns.column(call.filter, "condition")
        chosen = cast(condition, BOOLEAN, target=columns.target).expr
    return aggregate_functions.aggregate(call, arguments, order, chosen, columns.target, streams=columns.streams)


def _is_streamed(node: Aggregate) -> bool:
    """Return whether the streaming engine groups by itself. A key that is a constant makes it group in memory."""
    return all(map(columns_used, (item.value for item in node.keys))) and all(map(_is_plain, node.calls))


def _is_plain(call: AggregateCall) -> bool:
    computed = all(isinstance(one, Call) or one.type.precision <= MAY_OVERFLOW for one in call.arguments)
    number = computed and all(one.type.is_number for one in call.arguments)
    return call.function in _PLAIN and number and not (call.distinct or call.order or call.filter)


def _always(condition: Value) -> bool:
    return condition.literal is not None and condition.literal.value is True
