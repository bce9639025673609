"""A call of an aggregate function: the rows that count, in which order, and the table in which the functions stand.

FILTER, DISTINCT and ORDER BY are dealt with here, once: functions see the values that are left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.functions.table import Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.compile.values import Value
    from gpuquery.runner.query.sql.functions.table import FunctionCall
    from gpuquery.runner.query.sql.plan import AggregateCall, SortKey
    from gpuquery.runner.query.sql.types import Type


@dataclass(frozen=True)
class Group:
    """A call of an aggregate function, with what its clauses do to the rows."""

    call: AggregateCall
    arguments: Sequence[Value]
    order: Sequence[tuple[Value, SortKey]]
    filter: pl.Expr | None
    target: Target
    streams: bool = False
    """Whether Polars' streaming engine groups by itself: its sums of decimals fail beyond 38 digits."""

    @property
    def type(self) -> Type:
        """The type of the first argument."""
        return self.arguments[0].type

    def constant(self, index: int, what: str) -> Any:
        """Return the value of an argument that has to be a constant."""
        literal = self.arguments[index].literal
        if literal is None or literal.value is None:
            place = self.call.arguments[index].place or self.call.place
            raise SqlError(f"{what} of {self.call.function} must be a constant", place)
        return literal.value

    @cached_property
    def masked(self) -> pl.Expr:
        """The first argument, NULL in the rows that FILTER leaves out. For functions to which NULLs are nothing."""
        value = self.spread(self.arguments[0])
        return value if self.filter is None else pl.when(self.filter).then(value)

    @cached_property
    def known(self) -> pl.Expr:
        """The values of the first argument that count, in the order of ORDER BY: without NULLs, and DISTINCT."""
        if not self.call.distinct and not self.order:
            return self.masked
        self.on_cpu("DISTINCT" if self.call.distinct else "ORDER BY")
        return self.rows(self.spread(self.arguments[0]).is_not_null())[0]

    def rows(self, condition: pl.Expr | None = None) -> list[pl.Expr]:
        """Return all arguments in the rows that count (and for which a condition holds), in the order of ORDER BY.

        DISTINCT keeps the first row of each value of the first argument.
        """
        wanted = [test for test in (self.filter, condition) if test is not None]
        test = pl.all_horizontal(wanted) if wanted else None

        found = [self.spread(argument) for argument in self.arguments]
        if self.order:
            # sorted before they are filtered: Polars 1.44 does not sort by several filtered keys where a group is empty
            by, down, last = self.keys()
            asked = found if test is None else [*found, test]
            done = [expr.sort_by(by, descending=down, nulls_last=last, maintain_order=True) for expr in asked]
            found, test = done[: len(found)], test if test is None else done[-1]
        if test is not None:
            found = [expr.filter(test) for expr in found]
        if not self.call.distinct:
            return found
        if len(found) == 1:
            return [found[0].unique(maintain_order=True)]
        first = found[0].is_first_distinct()
        return [expr.filter(first) for expr in found]

    def keys(self) -> tuple[list[pl.Expr], list[bool], list[bool]]:
        """Return the keys of ORDER BY, and for each whether it descends and whether its NULLs come last."""
        by = [self.spread(value) for value, _ in self.order]
        return by, [key.descending for _, key in self.order], [not key.nulls_first for _, key in self.order]

    def refuse(self, words: str) -> SqlError:
        """Return the refusal of this call, at its place, or at that of an argument: calls of windows have none."""
        places = [self.call.place, *(argument.place for argument in self.call.arguments)]
        return SqlError(words, next((place for place in places if place), None))

    def on_cpu(self, what: str = "") -> None:
        """Refuse this function, or something about it, on GPUs.

        cudf-polars 26.10: an aggregation of a group takes a whole column: not a filtered, sorted or distinct one.
        """
        if self.target.gpu:
            call = f"{self.call.function} with {what}" if what else self.call.function
            raise self.refuse(f'{call} does not run on GPUs with RAPIDS {self.target.release}: use engine "cpu"')

    def spread(self, value: Value) -> pl.Expr:
        """Return a value as one for each row: Polars takes a constant for a column of one."""
        if value.expr.meta.root_names():
            return value.expr
        if self.target.gpu:
            self.on_cpu("a constant")
        return pl.when(pl.int_range(pl.len()) >= 0).then(value.expr)


Function = Callable[[Group], pl.Expr]
GPU_RELEASES = "26.04 26.10"
"""RAPIDS releases whose translation was asked."""


def null_if_empty(group: Group, found: pl.Expr) -> pl.Expr:
    """Return what was found where at least one value counts, else NULL."""
    return pl.when(group.masked.count() > 0).then(found)


class Functions:
    """Aggregate functions by name, in the order in which the reference shows them."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.by_name: dict[str, Function] = {}
        self.rows: list[Row] = []

    def add(self, name: str, *signatures: str, does: str, build: Function, **more: str) -> None:
        """Add a function.

        `aliases` are DuckDB's, which the front end has already made one name of. `none` and `some` are RAPIDS releases
        whose cudf-polars translates none of its calls, or some.
        """
        self.by_name[name] = build
        aliases = tuple(more.get("aliases", "").split())
        none, null_if_empty = (frozenset(more.get(key, "").split()) for key in ("none", "some"))
        self.rows.append(Row(name, signatures, does, _of_rows, aliases, none, null_if_empty, group=self.group))


def _of_rows(asked: FunctionCall) -> pl.Expr:
    raise asked.refuse(f"{asked.node.function} is an aggregate function")
