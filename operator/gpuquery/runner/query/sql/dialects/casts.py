"""CAST in all dialects: which type of DuckDB a type is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlglot import exp

from gpuquery.runner.query.sql.dialects import places
from gpuquery.runner.query.sql.dialects.rewriter import Dialect, duckdb_sql
from gpuquery.runner.query.sql.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable

Casts = dict["exp.DType", str]
"""DuckDB's type for a type of the dialect that stands without numbers in brackets."""


_TIMESTAMPS = {exp.DType.TIMESTAMP, exp.DType.TIMESTAMPNTZ, exp.DType.DATETIME, exp.DType.TIMESTAMPLTZ}


_TEXTS = {exp.DType.VARCHAR, exp.DType.TEXT, exp.DType.CHAR, exp.DType.NVARCHAR, exp.DType.NCHAR}


def cast(
    types: Casts,
    *,
    cuts_texts: bool = False,
    safe: bool | None = None,
    pads: bool = False,
    in_utc: bool = False,
) -> Callable[[Dialect, exp.Cast], exp.Expr]:
    """Return CAST and TRY_CAST; `cuts_texts`: a cast to VARCHAR(3) leaves three characters; `pads`: CHAR(3) has three.

    `in_utc`: a TIMESTAMP that knows zones is a moment in UTC, whatever zone its text names.
    """

    def translate(dialect: Dialect, node: exp.Cast) -> exp.Expr:
        if node.args.get("format") is not None:
            raise SqlError(f"{dialect.title}'s CAST with a format is not translated", places.place(node))
        word = "TRY_CAST" if (isinstance(node, exp.TryCast) if safe is None else safe) else "CAST"
        if node.args.get("safe"):
            word = "TRY_CAST"
        kind = node.to
        if pads and kind.this in (exp.DType.CHAR, exp.DType.NCHAR, exp.DType.BPCHAR):
            raise SqlError(
                f"{dialect.title}'s CHAR(n) fills texts up with blanks, which is not translated: write VARCHAR(n)",
                places.place(node),
            )
        if unread := _unread(dialect, node):
            if word == "CAST" and not _is_tried(node):
                raise SqlError(f"{node.this.name!r} is not a valid {kind.sql()} in {dialect.title}", places.place(node))
            return duckdb_sql(f"CAST(NULL AS {unread})")
        lengths = kind.find_all(exp.DataTypeParam)
        length = next((p.name for p in lengths), "") if kind.this in _TEXTS else ""
        if in_utc and kind.this in (exp.DType.TIMESTAMPTZ, exp.DType.TIMESTAMPLTZ):
            return duckdb_sql(f"CAST({word}({{0}} AS TIMESTAMPTZ) AS TIMESTAMP)", [node.this])
        made_cast = duckdb_sql(f"{word}({{0}} AS {_type(dialect, kind, types)})", [node.this])
        return duckdb_sql(f"left({{0}}, {length})", [made_cast]) if length and cuts_texts else made_cast

    return translate


def _is_tried(node: exp.Expr) -> bool:
    """Whether it stands in TRY(...)."""
    parent = node.parent
    while isinstance(parent, exp.Paren):
        parent = parent.parent
    return isinstance(parent, exp.Anonymous) and parent.name.lower() == "try"


def _unread(dialect: Dialect, node: exp.Cast) -> str:
    """Return DuckDB's type of a cast of a constant text that the dialect does not read as it; else nothing."""
    if not isinstance(node.this, exp.Literal) or not node.this.is_string:
        return ""
    whole, boolean = node.to.this in exp.DataType.INTEGER_TYPES, node.to.this is exp.DType.BOOLEAN
    pattern = dialect.semantics.read(whole=whole, boolean=boolean)
    return node.to.sql(dialect="duckdb") if pattern and not re.search(pattern, node.this.name) else ""


def _type(dialect: Dialect, kind: exp.DataType, types: Casts) -> str:
    """Return DuckDB's name of a type."""
    found = kind.this
    wanted = types.get(found, "")
    if wanted.startswith("!"):
        raise SqlError(f"{dialect.title}'s {wanted[1:]}", places.place(kind))
    if wanted and not kind.expressions:
        return wanted
    if found in _TEXTS:
        return "VARCHAR"
    if found in _TIMESTAMPS:
        return "TIMESTAMP"
    if kind.args.get("nested") and found is exp.DType.ARRAY:
        return f"{_type(dialect, kind.expressions[0], types)}[]"
    return kind.sql(dialect="duckdb")
