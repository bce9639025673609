"""Parts of a statement that are no functions: what is done with them, and which are good as they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlglot import exp

from gpuquery.runner.query.sql.dialects import places, times
from gpuquery.runner.query.sql.dialects.rewriter import Dialect, Nodes, duckdb_sql
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable

KNOWN: frozenset[type[exp.Expr]] = frozenset({
    exp.Select, exp.From, exp.Where, exp.Having, exp.Qualify, exp.Order, exp.Ordered, exp.Limit, exp.Offset,
    exp.Fetch, exp.LimitOptions, exp.Distinct, exp.Subquery, exp.Union, exp.Except, exp.Intersect, exp.With, exp.CTE,
    exp.TableAlias, exp.Column, exp.Identifier, exp.Star, exp.Alias, exp.Literal, exp.Boolean, exp.Null, exp.Paren,
    exp.Tuple, exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In,
    exp.Between, exp.Escape, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.IntDiv,
    exp.DPipe, exp.Neg, exp.DataType, exp.DataTypeParam, exp.Case, exp.If, exp.Exists, exp.Interval, exp.Var,
    exp.Window, exp.WindowSpec, exp.Filter, exp.Placeholder, exp.CurrentDate, exp.Cube, exp.Rollup,
    exp.GroupingSets, exp.Lambda, exp.Array, exp.Any, exp.All, exp.Bracket, exp.Unnest, exp.Lateral,
    exp.Dot,
})  # fmt: skip


def within_group(dialect: Dialect, node: exp.WithinGroup) -> exp.Expr:
    """LISTAGG, PERCENTILE_CONT and their kin: what they are over stands in their ORDER BY."""
    around: exp.Expr = node.this
    order = node.expression
    inner = around.this if isinstance(around, exp.Filter) else around
    if not isinstance(order, exp.Order) or inner.key != "duckdbsql":
        raise SqlError(f"{dialect.title}: this WITHIN GROUP is not supported", places.place(node))
    head = str(inner.this).partition("(")[0]
    keys = order.expressions
    if head in ("string_agg", "list"):
        last = inner.expressions[-1]
        inner.expressions[-1].replace(exp.Order(this=last.copy(), expressions=[key.copy() for key in keys]))
        around.meta.update(node.meta)
        return around
    if head in ("percentile_cont", "percentile_disc") and len(keys) == 1:
        # Nulls do not count, so their place in the order says nothing.
        descending = " DESC" if keys[0].args.get("desc") else ""
        return duckdb_sql(
            f"{head}({{0}}) WITHIN GROUP (ORDER BY {{1}}{descending})", [inner.expressions[0], keys[0].this]
        )
    if head == "mode" and len(keys) == 1:
        return duckdb_sql("mode({0})", [keys[0].this])
    raise SqlError(f"{dialect.title}: the WITHIN GROUP of this function is not supported here", places.place(node))


def without_hints(_: Dialect, node: exp.Select) -> exp.Expr:
    """Leave hints out: they say how, not what."""
    node.set("hint", None)
    return node


def table(dialect: Dialect, node: exp.Table) -> exp.Expr:
    """Only names: no schemas, no table functions, no samples."""
    for part, why in (("pivots", "PIVOT"), ("sample", "TABLESAMPLE"), ("version", "time travel"), ("when", "AT")):
        if node.args.get(part):
            raise SqlError(f"{dialect.title}'s {why} is not translated: write it in another way", places.place(node))
    if node.args.get("db") or node.args.get("catalog"):
        name = ".".join(p.name for p in node.parts)
        raise SqlError(f"{name} is refused: tables have no database or schema, only a name", places.place(node))
    if isinstance(node.this, exp.Identifier) or node.find_ancestor(exp.Hint):
        return node
    if node.this.key == "duckdbsql" and str(node.this.this).startswith("unnest("):
        return node
    raise SqlError("this table function is refused: a query reads only the job's inputs", places.place(node))


def group(_: Dialect, node: exp.Group) -> exp.Expr:
    """GROUP BY a, b WITH ROLLUP."""
    for part in ("rollup", "cube"):
        for one in node.args.get(part) or []:
            if not one.expressions:
                one.set("expressions", [key.pop() for key in list(node.expressions)])
    return node


def refused(why: str) -> Callable[[Dialect, exp.Expr], exp.Expr]:
    """Return the rule for a part of a statement that is refused."""

    def translate(dialect: Dialect, node: exp.Expr) -> exp.Expr:
        raise SqlError(f"{dialect.title}'s {why}", places.place(node))

    return translate


def values(prefix: str) -> Callable[[Dialect, exp.Values], exp.Expr]:
    """Return VALUES in FROM, whose columns have names of the dialect: column1, column2, ..."""

    def translate(_: Dialect, node: exp.Values) -> exp.Expr:
        alias = node.args.get("alias")
        if isinstance(node.parent, exp.From | exp.Join) and not (alias is not None and alias.columns):
            first = node.expressions[0]
            width = len(first.expressions) if isinstance(first, exp.Tuple) else 1
            names = [exp.to_identifier(f"{prefix}{number + 1}") for number in range(width)]
            table = alias.this if alias is not None else exp.to_identifier("listed")
            node.set("alias", exp.TableAlias(this=table, columns=names))
        return node

    return translate


def join(_: Dialect, node: exp.Join) -> exp.Expr:
    """LEFT SEMI JOIN is SEMI JOIN."""
    if node.kind in ("SEMI", "ANTI"):
        node.set("side", None)
    node.set("hint", None)
    return node


def like(dialect: Dialect, node: exp.Like | exp.ILike) -> exp.Expr:
    """LIKE in dialects where a backslash takes the meaning of `%` without being told to."""
    pattern = node.expression
    if not dialect.like_escape or isinstance(node.parent, exp.Escape) or isinstance(pattern, exp.Any | exp.All):
        return node
    if isinstance(pattern, exp.Literal) and dialect.like_escape not in pattern.name:
        return node
    word = "ILIKE" if isinstance(node, exp.ILike) else "LIKE"
    return duckdb_sql(f"({{0}} {word} {{1}} ESCAPE '{dialect.like_escape}')", [node.this, pattern])


def regexp(_: Dialect, node: exp.RegexpLike) -> exp.Expr:
    """`~` and RLIKE: a match anywhere."""
    return duckdb_sql("regexp_matches({0}, {1})", [node.this, node.expression])


def regexp_of_any_case(_: Dialect, node: exp.RegexpILike) -> exp.Expr:
    """`~*`."""
    return duckdb_sql("regexp_matches({0}, {1}, 'i')", [node.this, node.expression])


def similar(dialect: Dialect, node: exp.SimilarTo) -> exp.Expr:
    """SIMILAR TO: `%` and `_` beside a regular expression, over the whole text."""
    pattern = node.expression
    if not isinstance(pattern, exp.Literal):
        raise SqlError(f"{dialect.title}'s SIMILAR TO needs a pattern in quotes here", places.place(node))
    special = {"%": ".*", "_": ".", ".": r"\.", "^": r"\^", "$": r"\$"}
    text = re.sub(r"\\.|.", lambda m: m[0] if len(m[0]) > 1 else special.get(m[0], m[0]), pattern.name, flags=re.DOTALL)
    return duckdb_sql("regexp_full_match({0}, {1})", [node.this, exp.Literal.string(text)])


def position(_: Dialect, node: exp.StrPosition) -> exp.Expr:
    """POSITION(a IN b)."""
    if node.args.get("position") or node.args.get("occurrence"):
        raise SqlError("POSITION with a start is not translated", places.place(node))
    return duckdb_sql("strpos({0}, {1})", [node.this, node.args["substr"]])


def trimmed(_: Dialect, node: exp.Trim) -> exp.Expr:
    """TRIM(BOTH x FROM y)."""
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "").upper(), "trim")
    characters = node.args.get("expression")
    return duckdb_sql(f"{name}({{*}})", [node.this, *([characters] if characters else [])])


def overlaid(_: Dialect, node: exp.Overlay) -> exp.Expr:
    """OVERLAY(x PLACING y FROM n FOR m)."""
    text, new, start, length = node.this, node.expression, node.args["from_"], node.args.get("for_")
    size = "{3}" if length else "length({1})"
    template = f"(substr({{0}}, 1, {{2}} - 1) || {{1}} || substr({{0}}, {{2}} + {size}))"
    return duckdb_sql(template, [text, new, start, *([length] if length else [])])


def ignoring_nulls(_: Dialect, node: exp.IgnoreNulls) -> exp.Expr:
    """IGNORE NULLS, behind the call or in it."""
    call: exp.Expr = node.this
    if call.key == "duckdbsql" and str(call.this).endswith(")"):
        call.set("this", str(call.this)[:-1] + " IGNORE NULLS)")
        call.meta.update(node.meta)
        return call
    return duckdb_sql("{0} IGNORE NULLS", [call])


def limited(dialect: Dialect, node: exp.Fetch) -> exp.Expr:
    """FETCH FIRST 3 ROWS, ONLY or WITH TIES."""
    options = node.args.get("limit_options")
    if options is not None and options.args.get("percent"):
        raise SqlError(f"{dialect.title}'s FETCH of a PERCENT of the rows is not translated", places.place(node))
    if options is not None and options.args.get("with_ties"):
        return duckdb_sql(" FETCH FIRST {0} ROWS WITH TIES", [node.args.get("count") or exp.Literal.number(1)])
    return node


def locked(dialect: Dialect, node: exp.Lock) -> exp.Expr:
    """FOR UPDATE."""
    raise SqlError(f"{dialect.title}'s FOR UPDATE is refused: a query locks nothing", places.place(node))


NODES: Nodes = {
    exp.Fetch: limited,
    exp.Lock: locked,
    exp.Select: without_hints,
    exp.Hint: lambda _, node: node,
    exp.JoinHint: lambda _, node: node,
    exp.Group: group,
    exp.Table: table,
    exp.Join: join,
    exp.Like: like,
    exp.ILike: like,
    exp.RegexpLike: regexp,
    exp.RegexpILike: regexp_of_any_case,
    exp.SimilarTo: similar,
    exp.StrPosition: position,
    exp.Trim: trimmed,
    exp.Overlay: overlaid,
    exp.WithinGroup: within_group,
    exp.Extract: times.extracted({}),
    exp.CurrentTimestamp: times.moment,
    exp.TableSample: refused(
        "TABLESAMPLE is refused: every attempt of a job must return the same result; filter by a column"
    ),
    exp.Pivot: refused("PIVOT is not translated: write one aggregate with CASE for each column"),
    exp.AtTimeZone: refused("AT TIME ZONE is not translated: timestamps have no time zone here; store them in UTC"),
    exp.Parameter: refused("its own parameters are not supported: write :name"),
    exp.Values: values("column"),
    exp.IgnoreNulls: ignoring_nulls,
    exp.RespectNulls: lambda _, node: node.this,  # the default
}
