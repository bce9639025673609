"""Aggregates of aggregates: which calls over a coarse group can be made of those over its finer groups.

ROLLUP and CUBE group the same rows several times. Where all calls can be made in parts, the rows are grouped once, by
all keys, and the coarser sets group the few rows of that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile import aggregate_functions
from gpuquery.runner.query.sql.compile.aggregate_functions_basic import quotient
from gpuquery.runner.query.sql.compile.values import Value, dtype_of
from gpuquery.runner.query.sql.plan import AggregateCall, Column
from gpuquery.runner.query.sql.types import BIGINT, DOUBLE, HUGEINT, decimal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.types import Type

_AS_THEY_ARE = frozenset({"sum", "min", "max", "bool_and", "bool_or"})
"""Functions whose parts are put together by the function itself."""


@dataclass(frozen=True)
class Split:
    """A call in parts."""

    parts: tuple[AggregateCall, ...]
    """Calls over the finer groups."""
    again: tuple[AggregateCall, ...]
    """For each part, the call over the parts of a coarser group."""
    finish: Callable[[Sequence[pl.Expr]], pl.Expr]
    """From the parts, put together, to the value."""

    def whole(self, columns: Sequence[str]) -> pl.Expr:
        """Return the value of a finer group from its own parts, one column each."""
        return self.finish([pl.col(name) for name in columns])

    def merged(self, columns: Sequence[str], target: Target) -> pl.Expr:
        """Return the value of a coarser group, in the context of a group of finer ones."""
        found = []
        for part, call, name in zip(self.parts, self.again, columns, strict=True):
            value = Value(pl.col(name), part.type)
            found.append(aggregate_functions.aggregate(call, [value], (), None, target))
        return self.finish(found)


def split(call: AggregateCall, target: Target) -> Split | None:
    """Return a call in parts; None if it has to see all rows at once."""
    if call.distinct or call.order:
        return None
    if call.function in ("count", "count_star"):
        return Split((call,), (_again(call, "sum", HUGEINT),), _counted)
    if call.function in _AS_THEY_ARE:
        return Split((call,), (_again(call, call.function, call.type),), lambda parts: parts[0])
    if call.function in ("avg", "mean") and call.arguments[0].type.is_number:
        return _average(call, target)
    return None


def _again(part: AggregateCall, function: str, kind: Type) -> AggregateCall:
    return AggregateCall(type=kind, function=function, arguments=(Column(type=part.type, index=0),), place=part.place)


def _counted(parts: Sequence[pl.Expr]) -> pl.Expr:
    return parts[0].cast(dtype_of(BIGINT)).fill_null(0)


def _average(call: AggregateCall, target: Target) -> Split:
    kind = call.arguments[0].type
    total = DOUBLE if kind.is_float else HUGEINT if kind.is_integer else decimal(38, kind.scale)
    parts = (replace(call, function="sum", type=total), replace(call, function="count", type=BIGINT))

    def finish(found: Sequence[pl.Expr]) -> pl.Expr:
        count = _counted([found[1]])
        if kind.is_float:
            return pl.when(count > 0).then(found[0] / count)
        return quotient(found[0], count, kind, target).cast(dtype_of(call.type))

    return Split(parts, (_again(parts[0], "sum", total), _again(parts[1], "sum", HUGEINT)), finish)
