"""A tree as DuckDB's text, with the way back from each piece of it to the author's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ErrorLevel, SqlglotError, UnsupportedError
from sqlglot.generators.duckdb import DuckDBGenerator

from gpuquery.runner.query.sql.dialects import places
from gpuquery.runner.query.sql.errors import Place, SqlError

if TYPE_CHECKING:
    from collections.abc import Iterable

_PIECE = re.compile(r"\{(\d+|\*)\}")
_WHOLE = (
    exp.Column, exp.Identifier, exp.Literal, exp.Func, exp.Paren, exp.Placeholder, exp.Null, exp.Boolean, exp.Star,
    exp.Distinct, exp.Order, exp.Ordered, exp.Limit, exp.Lambda, exp.Var, exp.DataType, exp.Subquery, exp.IgnoreNulls,
    exp.RespectNulls, exp.Interval, exp.Tuple, exp.Bracket, exp.Window, exp.Filter,
)  # fmt: skip
"""What needs no brackets as a part of something else; CASE and casts are functions to sqlglot."""


class DuckDbSql(exp.Expression):
    """DuckDB's text for something, with `{0}`, `{1}`, ... where its parts stand, or `{*}` for all of them."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expressions": False}


def duckdb_sql(template: str, parts: Iterable[exp.Expr] = ()) -> DuckDbSql:
    """Return the node for a text with these parts."""
    return DuckDbSql(this=template, expressions=list(parts))


class _Generator(DuckDBGenerator):
    TRANSFORMS: ClassVar = {
        **DuckDBGenerator.TRANSFORMS,
        DuckDbSql: lambda self, e: self.template_text(e),
        exp.Placeholder: lambda self, e: f":{e.name}",
        exp.Div: lambda self, e: self.binary(e, "/"),
    }

    marker: places.Marker

    def sql(self, expression: Any, key: str | None = None, comment: bool = True) -> str:
        text = super().sql(expression, key, comment)
        span = expression.meta.get(places.SPAN) if key is None and isinstance(expression, exp.Expr) else None
        return self.marker.marked(text, span) if text and isinstance(span, Place) else text

    def template_text(self, node: DuckDbSql) -> str:
        """Return the template with its parts."""
        parts = [self._part(part) for part in node.expressions]
        return _PIECE.sub(lambda m: ", ".join(parts) if m[1] == "*" else parts[int(m[1])], str(node.this))

    def _part(self, part: exp.Expr) -> str:
        text = self.sql(part)
        return text if isinstance(part, _WHOLE) or (isinstance(part, DuckDbSql) and _is_call(part)) else f"({text})"


def _is_call(node: DuckDbSql) -> bool:
    text = str(node.this)
    return text.endswith(" NULLS") or bool(re.match(r"\w+\([^()]*\)\Z", text))


def write(tree: exp.Expr) -> tuple[str, tuple[places.Mark, ...]]:
    """Return DuckDB's text and its marks; raises SqlError for what it has no words for."""
    generator = _Generator(dialect=DuckDB(), comments=False, unsupported_level=ErrorLevel.IMMEDIATE)
    generator.marker = places.Marker()
    try:
        return generator.marker.read(generator.generate(tree))
    except UnsupportedError as exc:
        raise SqlError(f"this is not translated: {exc}") from None
    except SqlglotError:  # it reads again what it has written of some parts
        raise SqlError("this statement is not translated: write it in another way") from None
