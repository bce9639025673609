"""Which expression computes an aggregate function over a group of rows.

The expression is for `group_by(...).agg(...)`, `select(...)` and `over(...)`: it makes one value of many rows, NULL
where no row counts (a count 0). The functions stand in tables, by kind, in `aggregate_functions_<kind>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.compile import aggregate_functions_basic as basic
from gpuquery.runner.query.sql.compile import aggregate_functions_lists as lists
from gpuquery.runner.query.sql.compile import aggregate_functions_order as order_
from gpuquery.runner.query.sql.compile import aggregate_functions_statistics as statistics
from gpuquery.runner.query.sql.compile.aggregate_functions_group import Function, Group
from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.functions.known import unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.compile.values import Value
    from gpuquery.runner.query.sql.plan import AggregateCall, SortKey

_TABLES = (basic.TABLE, order_.TABLE, lists.TABLE, statistics.TABLE)
FUNCTIONS: dict[str, Function] = {name: build for table in _TABLES for name, build in table.by_name.items()}
ROWS = tuple(row for table in _TABLES for row in table.rows)
"""For the reference of functions."""


def aggregate(
    call: AggregateCall,
    arguments: Sequence[Value],
    order: Sequence[tuple[Value, SortKey]],
    filter: pl.Expr | None,
    target: Target,
    *,
    streams: bool = False,
) -> pl.Expr:
    """Return the expression for a call in the context of a group, with the dtype of the call's type.

    `arguments`, `order` and `filter` are the call's own, compiled over the rows of the group. `streams`: the streaming
    engine groups by itself.
    """
    function = FUNCTIONS.get(call.function)
    if function is None:
        raise unknown(call.function, FUNCTIONS, call.place)
    group = Group(call, arguments, order, filter, target, streams)
    if target.gpu and len(arguments) == 1 and not arguments[0].expr.meta.root_names():
        function = basic.of_constant
    return function(group).cast(dtype_of(call.type))
