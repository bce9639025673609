"""Spark's LATERAL VIEW, which joins the elements of a list, as a join with UNNEST."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from gpuquery.runner.query.sql.dialects import places
from gpuquery.runner.query.sql.dialects.generator import duckdb_sql
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.dialects.rewriter import Dialect


def checked(dialect: Dialect, node: exp.Lateral) -> exp.Expr:
    """Refuse what is neither a list to explode nor a query; the rest is done where the SELECT is."""
    call = node.this
    if isinstance(call, exp.Subquery):
        return node
    if call.key != "duckdbsql" or not str(call.this).startswith("unnest("):
        raise SqlError(f"{dialect.title}'s LATERAL is supported only with explode and queries", places.place(node))
    return node


def joined(node: exp.Select) -> None:
    """Turn the LATERAL VIEWs of a SELECT into joins."""
    for number, view in enumerate(node.args.get("laterals") or []):
        alias = view.args.get("alias")
        columns = list(alias.columns) if alias is not None else []
        table = alias.this if alias is not None and alias.this is not None else exp.to_identifier(f"_view{number}")
        names = [column.sql(dialect="duckdb") for column in columns] or ["col"]
        shown = f"{table.sql(dialect='duckdb')}({', '.join(names)})"
        template = f"LEFT JOIN {{0}} AS {shown} ON TRUE" if view.args.get("outer") else f"CROSS JOIN {{0}} AS {shown}"
        made = duckdb_sql(f" {template}", [view.this])
        if places.SPAN in view.meta:
            made.meta[places.SPAN] = view.meta[places.SPAN]
        node.append("joins", made)
    node.set("laterals", None)
