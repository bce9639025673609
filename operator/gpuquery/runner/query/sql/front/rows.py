"""Comparisons of rows, `(a, b) = (c, d)` and `(a, b) IN (...)`, as comparisons of their values.

The rule is PostgreSQL's (9.25.5 Row-wise Comparison) and the standard's: rows are equal where all of their values are,
unknown where that cannot be told. For `<` and its like the first values that differ decide.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.plan import Call, Cast, Expression
from gpuquery.runner.query.sql.types import BOOLEAN, Kind, struct

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.runner.query.sql.errors import Place

_STRICT = {"<": "<", "<=": "<", ">": ">", ">=": ">"}
_MOST_ORDERED = 50
"""Values of rows that are compared by order: what is compared grows with their square."""


def values(row: Expression) -> tuple[Expression, ...] | None:
    """Return the values of a row that the text spells out, each in the row's type; None for any other expression."""
    if isinstance(row, Cast) and row.type.kind is Kind.STRUCT and not row.null_on_failure:
        inside = values(row.input)
        if inside is None or len(inside) != len(row.type.fields):
            return None
        pairs = zip(inside, (kind for _, kind in row.type.fields), strict=True)
        return tuple(v if v.type == kind else Cast(type=kind, place=v.place, input=v) for v, kind in pairs)
    return row.arguments if isinstance(row, Call) and row.function == "row" else None


def with_field_names(arguments: Sequence[Expression]) -> tuple[Expression, ...]:
    """Return arguments that are only counted, with names for the values of rows: records have names here."""
    return tuple(map(_held, arguments))


def _held(argument: Expression) -> Expression:
    if not isinstance(argument, Call) or argument.function != "row":
        return argument
    named = struct(*((f"value {at}", one.type) for at, one in enumerate(argument.arguments)))
    return replace(argument, function="struct_pack", type=named)


def compared(
    operator: str, left: Expression, right: Expression, place: Place | None, fold: Callable[[Expression], Expression]
) -> Expression | None:
    """Return the comparison of two rows value by value; None if one of them is no row that the text spells out.

    `fold` makes constants of casts of constants.
    """
    one, other = values(left), values(right)
    if one is None or other is None or len(one) != len(other) or not one:
        return None
    pairs = [(fold(a), fold(b)) for a, b in zip(one, other, strict=True)]

    def call(function: str, *arguments: Expression) -> Expression:
        return Call(type=BOOLEAN, place=place, function=function, arguments=arguments)

    def all_of(terms: list[Expression]) -> Expression:
        return terms[0] if len(terms) == 1 else call("and", *terms)

    def any_of(terms: list[Expression]) -> Expression:
        return terms[0] if len(terms) == 1 else call("or", *terms)

    match operator:
        case "=" | "is not distinct from":
            return all_of([call(operator, a, b) for a, b in pairs])
        case "<>" | "is distinct from":
            return any_of([call(operator, a, b) for a, b in pairs])
        case _:
            if len(pairs) > _MOST_ORDERED:
                raise SqlError(f"rows of more than {_MOST_ORDERED} values can be compared only by = and <>", place)
            strict = _STRICT[operator]
            terms = []
            for i, (a, b) in enumerate(pairs):
                last = operator if i == len(pairs) - 1 else strict
                terms.append(all_of([*(call("=", x, y) for x, y in pairs[:i]), call(last, a, b)]))
            return any_of(terms)
