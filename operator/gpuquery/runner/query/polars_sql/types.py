"""What the types of the columns tell about a query before it runs: parameters of another kind, and lost decimals.

A product of decimals has, in SQL, as many decimal places as its factors together. Polars keeps only as many as the
factor with the most (measured with 1.44: 0.95 * 0.95 as DECIMAL(15, 2) is 0.90), without a word. So products that
lose places are found here, by the types of the columns, and the author is told the CAST that keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import polars as pl
from sqlglot import exp

from gpuquery.runner.query.polars_sql.scope import Schemas, dtype_of, origin, scopes
from gpuquery.runner.query.polars_sql.tree import BoundQuery, place
from gpuquery.runner.query.text import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlglot.optimizer.scope import Scope

    from gpuquery.runner.query.params import Value

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In)
_FITTING: Mapping[str, str] = {
    "string": "text", "strings": "text", "boolean": "boolean",
    "date": "time", "timestamp": "time", "dates": "time", "timestamps": "time",
    "integer": "number", "integers": "number", "number": "number", "numbers": "number",
    "decimal": "number", "decimals": "number",
}  # fmt: skip
_PASSED_ON = (exp.Paren, exp.Neg, exp.Sum, exp.Min, exp.Max)
_CHOICES = (exp.Add, exp.Sub, exp.Coalesce, exp.Case, exp.If, exp.Greatest, exp.Least)
MAX_DEPTH = 200
T = TypeVar("T", bound=exp.Expr)


def check_parameters(bound: BoundQuery, schemas: Schemas) -> None:
    """Refuse a parameter that is compared with a column of another kind; raises JobError(InvalidQuery)."""
    for scope, node in _nodes(bound, exp.Placeholder):
        value = bound.values[node.name]
        parent = node.parent.parent if isinstance(node.parent, exp.Tuple) else node.parent
        if not isinstance(parent, _COMPARISONS):
            continue
        for column in (c for c in parent.iter_expressions() if isinstance(c, exp.Column)):
            dtype = dtype_of(column, scope, schemas)
            if dtype is not None and not _fits(value, dtype):
                where = bound.statement.source.at(place(node))
                raise invalid(
                    f'{where}: parameter :{value.name} is {value.described}, but column "{column.name}" is {dtype}: '
                    f"give it as {_wanted(dtype)}"
                )


def _kind(dtype: pl.DataType) -> str | None:
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        return "text"
    if isinstance(dtype, (pl.Date, pl.Datetime)):
        return "time"
    if isinstance(dtype, pl.Boolean):
        return "boolean"
    return "number" if dtype.is_numeric() else None


def _fits(value: Value, dtype: pl.DataType) -> bool:
    kind = _kind(dtype)
    return kind is None or kind == _FITTING[value.kind]


def _wanted(dtype: pl.DataType) -> str:
    if isinstance(dtype, (pl.Date, pl.Datetime)):
        return "date" if isinstance(dtype, pl.Date) else "timestamp"
    return {"text": "string", "boolean": "boolean"}.get(_kind(dtype) or "", "integer, number or decimal")


def decimal_warnings(bound: BoundQuery, schemas: Schemas) -> tuple[str, ...]:
    """Return one warning for every product of decimals that loses decimal places."""
    try:
        return _decimal_warnings(bound, schemas)
    except RecursionError:  # a product of hundreds of factors; it is a remark, not worth the query
        return ()


def _decimal_warnings(bound: BoundQuery, schemas: Schemas) -> tuple[str, ...]:
    found: dict[int, str] = {}
    for scope, node in _nodes(bound, exp.Mul):
        if isinstance(_above(node), exp.Mul):
            continue  # a factor of a larger product, which is judged as a whole
        factors = list(_factors(node))
        places = [_places(f, scope, bound, schemas) for f in factors]
        if any(p is None for p in places):
            continue
        needed = sum(p.needed for p in places if p)
        kept = max(p.kept for p in places if p)
        if needed > kept:
            source = bound.statement.source
            start = place(node)
            first = next(i for i, p in enumerate(places) if p and p.kept)
            inside = factors[first].this if isinstance(factors[first], exp.Cast) else factors[first]
            cast = f"CAST({_text(inside)} AS DECIMAL(38, {min(needed, 37)}))"
            found[start] = (
                f"{source.at(start)}: the product {_text(node)} keeps {kept} of its {needed} decimal places, "
                f"because Polars' SQL keeps those of one factor: write {cast} in place of "
                f"{_text(factors[first])}"
            )
    return tuple(found[start] for start in sorted(found))


@dataclass(frozen=True)
class _Places:
    """Decimal places: how many the value can have, and how many its type keeps."""

    needed: int
    kept: int


def _nodes(bound: BoundQuery, kind: type[T]) -> Iterator[tuple[Scope, T]]:
    """Yield every node of a kind once, with the SELECT that it stands in."""
    for scope in scopes(bound.statement.tree):
        for node in scope.find_all(kind):
            yield scope, node


def _above(node: exp.Expr) -> exp.Expr | None:
    parent = node.parent
    while isinstance(parent, (exp.Paren, exp.Neg)):
        parent = parent.parent
    return parent


def _factors(node: exp.Expr) -> Iterator[exp.Expr]:
    inner = node
    while isinstance(inner, (exp.Paren, exp.Neg)):
        inner = inner.this
    if isinstance(inner, exp.Mul):
        yield from _factors(inner.left)
        yield from _factors(inner.right)
    else:
        yield node


def _places(node: exp.Expr | None, scope: Scope, bound: BoundQuery, schemas: Schemas, depth: int = 0) -> _Places | None:
    """Return the decimal places of an expression; None if it is no decimal or whole number, or not certain."""

    def inner(child: exp.Expr | None, within: Scope = scope) -> _Places | None:
        return _places(child, within, bound, schemas, depth + 1)

    if node is None or depth > MAX_DEPTH:
        return None
    match node:
        case exp.Literal():
            return _Places(0, 0) if not node.is_string and str(node.this).isdigit() else None
        case exp.Placeholder():
            return _of_value(bound.values[node.name])
        case exp.Cast():
            return _of_cast(node, inner(node.this))
        case exp.Column():
            found = origin(node, scope, schemas)
            if found is None or found.dtype is None:
                return inner(found.expression, found.scope) if found and found.scope else None
            return _of_dtype(found.dtype)
        case exp.Mul():
            places = [inner(f) for f in _factors(node)]
            known = [p for p in places if p is not None]
            kept = max(p.kept for p in known) if known else 0
            return _Places(kept, kept) if len(known) == len(places) else None
        case exp.Window() | exp.Filter():
            return inner(node.this)
        case _ if isinstance(node, _PASSED_ON):
            return inner(node.this)
        case _ if isinstance(node, _CHOICES):
            return _of_choices([inner(child) for child in _results(node)])
        case _:
            return None


def _results(node: exp.Expr) -> list[exp.Expr]:
    """The parts of an expression of which one is its value, or whose sum is."""
    if isinstance(node, exp.Case):
        results = [i.args.get("true") for i in node.args.get("ifs", [])] + [node.args.get("default")]
    elif isinstance(node, exp.If):
        results = [node.args.get("true"), node.args.get("false")]
    else:
        results = list(node.iter_expressions())
    return [r for r in results if r is not None and not isinstance(r, exp.Null)]


def _of_choices(places: list[_Places | None]) -> _Places | None:
    known = [p for p in places if p is not None]
    if not known or len(known) < len(places):
        return None
    return _Places(max(p.needed for p in known), max(p.kept for p in known))


def _of_dtype(dtype: pl.DataType) -> _Places | None:
    if isinstance(dtype, pl.Decimal):
        return _Places(dtype.scale, dtype.scale)
    return _Places(0, 0) if dtype.is_integer() else None


def _of_value(value: Value) -> _Places | None:
    if value.kind == "decimal":
        scale = max(0, -int(value.python.as_tuple().exponent))
        return _Places(scale, scale)
    return _Places(0, 0) if value.kind == "integer" else None


def _of_cast(node: exp.Cast, inner: _Places | None) -> _Places | None:
    kind = node.to
    if kind.is_type(*exp.DataType.INTEGER_TYPES):
        return _Places(0, 0)
    if not kind.is_type(exp.DType.DECIMAL):
        return None
    sizes = kind.expressions
    scale = int(sizes[1].name) if len(sizes) > 1 and sizes[1].name.isdigit() else 0
    # Places that a cast adds hold zeros: a later product has room in them.
    return _Places(min(inner.needed, scale) if inner else scale, scale)


def _text(node: exp.Expr) -> str:
    """An expression in words that the author knows again, shortened."""
    named = node.copy().transform(lambda n: exp.Var(this=f":{n.name}") if isinstance(n, exp.Placeholder) else n)
    text = named.sql(dialect="postgres")
    return text if len(text) <= 80 else text[:77] + "..."
