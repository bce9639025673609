"""Which column of which input a name in a query means, followed through aliases, sub-queries and CTEs.

Only what is certain is told: a name that may come from two tables, or from an expression that is not followed, is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

Schemas = Mapping[str, pl.Schema]


@dataclass(frozen=True)
class Origin:
    """Where a column comes from: a column of an input, or an expression in another scope."""

    dtype: pl.DataType | None = None
    expression: exp.Expr | None = None
    scope: Scope | None = None


def scopes(tree: exp.Expr) -> Iterator[Scope]:
    """Yield every SELECT of the query; none where sqlglot cannot tell them apart."""
    try:
        yield from traverse_scope(tree)
    except (SqlglotError, RecursionError):
        return


def origin(column: exp.Column, scope: Scope, schemas: Schemas) -> Origin | None:
    """Return where a column comes from; None if that is not certain."""
    current: Scope | None = scope
    while current is not None:
        sources = current.sources
        if column.table:
            if column.table in sources:
                return _in_source(sources[column.table], column.name, schemas)
        else:
            selected = [_in_source(sources[name], column.name, schemas) for name in current.selected_sources]
            found = [f for f in selected if f is not None]
            if found:
                return found[0] if len(found) == 1 else None
        current = current.parent
    return None


def _in_source(source: exp.Expr | Scope, name: str, schemas: Schemas) -> Origin | None:
    if isinstance(source, exp.Table):
        dtype = schemas[source.name].get(name) if source.name in schemas else None
        return Origin(dtype=dtype) if dtype is not None else None
    if not isinstance(source, Scope):
        return None
    query = source.expression
    while isinstance(query, exp.SetOperation):
        query = query.left
    if not isinstance(query, exp.Select):
        return None
    scope = next((s for s in source.traverse() if s.expression is query), source)
    for item in query.selects:
        if item.alias_or_name == name and not item.is_star:
            return Origin(expression=item.unalias(), scope=scope)
        if isinstance(item, exp.Star) and (found := origin(exp.column(name), scope, schemas)):
            return found
    return None


def dtype_of(column: exp.Column, scope: Scope, schemas: Schemas) -> pl.DataType | None:
    """Return the type of a column that is passed on unchanged from an input; None otherwise."""
    found = origin(column, scope, schemas)
    for _ in range(64):  # a CTE that reads its own name would go round for ever
        if found is None or found.dtype is not None:
            break
        inner = found.expression
        found = origin(inner, found.scope, schemas) if isinstance(inner, exp.Column) and found.scope else None
    return found.dtype if found else None
