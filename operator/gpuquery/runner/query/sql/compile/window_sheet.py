"""The rows of a relation in the order of a window, and where each row stands in its partition.

Windows are computed over row numbers: the rows are sorted once by partition and order, every frame is then one or a few
ranges of row numbers, and a function over a frame is arithmetic on columns, whatever the partitions are. Nothing looks
at the rows one by one, and the work for a window is that of a sort.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.query.sql.compile.expression import condition, expression
from gpuquery.runner.query.sql.compile.values import Value
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.types import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.compile.values import Compiled
    from gpuquery.runner.query.sql.plan import Expression, SortKey


class Sheet:
    """A frame that gets columns of its own: a result, or a step on the way to one. `below` is what it started with."""

    def __init__(self, below: Compiled, target: Target) -> None:
        self.frame = below.frame
        self.target = target
        self.scope = below.values()
        self._taken = set(below.names)
        self._made = 0

    def name(self) -> str:
        """Return a name that no column has."""
        while (name := f"w{self._made}") in self._taken:
            self._made += 1
        self._taken.add(name)
        return name

    def add(self, *made: pl.Expr) -> list[pl.Expr]:
        """Compute columns, none of which sees another one."""
        names = [self.name() for _ in made]
        self.frame = self.frame.with_columns(expr.alias(name) for expr, name in zip(made, names, strict=True))
        return [pl.col(name) for name in names]

    def one(self, made: pl.Expr) -> pl.Expr:
        """Compute one column."""
        return self.add(made)[0]

    def value(self, node: Expression) -> Value:
        """Return an expression over the relation below; one that is not a column becomes one, lest it is done twice."""
        value = expression(node, self.scope, self.target)
        if value.literal is not None or value.expr.meta.is_column():
            return value
        return Value(self.one(value.expr), value.type)

    def key(self, node: Expression) -> pl.Expr:
        """Return a column to sort and to compare by. To Polars and libcudf 0.0 and -0.0 are one value, and all NaNs."""
        value = self.value(node)
        return value.expr if value.literal is None else self.one(value.expr)

    def condition(self, node: Expression) -> pl.Expr:
        """Return a condition over the relation below, as a column without NULLs."""
        return self.one(condition(node, self.scope, self.target).fill_null(value=False))


@dataclass(frozen=True)
class Positions:
    """Columns of a sorted sheet, of whole numbers. An end is the number of the row behind the last one."""

    row: pl.Expr
    first: pl.Expr
    """Of the partition."""
    end: pl.Expr
    peers: pl.Expr
    """The first row that is equal to this one by the order."""
    peers_end: pl.Expr
    group: pl.Expr
    """The number of the group of peers, counted over all partitions from 1."""
    starts: pl.Expr
    """Whether a group of peers starts here."""


def sorted_by(sheet: Sheet, partition: Sequence[Expression], order: Sequence[SortKey]) -> Positions:
    """Sort a sheet by partition and order, and say where each row stands."""
    parts = [sheet.key(node) for node in partition]
    checked(order)
    keys = [sheet.key(key.value) for key in order]
    if parts or keys:
        down = [*(False for _ in parts), *(key.descending for key in order)]
        last = [*(True for _ in parts), *(not key.nulls_first for key in order)]
        sheet.frame = sheet.frame.sort([*parts, *keys], descending=down, nulls_last=last)
    row = sheet.one(pl.int_range(pl.len(), dtype=pl.Int64))
    opens, starts = sheet.add(_differs(row, parts), _differs(row, [*parts, *keys]))
    first, end, peers, peers_end, group = sheet.add(
        *_ends(row, opens), *_ends(row, starts), starts.cast(pl.Int64).cum_sum()
    )
    return Positions(row, first, end, peers, peers_end, group, starts)


def checked(order: Sequence[SortKey]) -> None:
    """Refuse keys of an order that Polars sorts otherwise than SQL: lists with NULLs in them."""
    for key in order:
        if key.value.type.kind in (Kind.LIST, Kind.STRUCT):
            raise SqlError(
                f"ORDER BY {key.value.type} in OVER (...) is not supported: use a part of it", key.value.place
            )


def _differs(row: pl.Expr, keys: Sequence[pl.Expr]) -> pl.Expr:
    """Return whether a row differs from the one before it; NULLs, and NaNs, are equal."""
    return pl.any_horizontal(row == 0, *(key.ne_missing(key.shift(1)) for key in keys))


def _ends(row: pl.Expr, opens: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Return the first row and the end of the run of rows in which each row is."""
    first = pl.when(opens).then(row).forward_fill()
    end = pl.when(opens.shift(-1, fill_value=True)).then(row + 1).backward_fill()
    return first, end
