"""Which types may be compared: text with text, numbers with numbers, dates with timestamps.

DuckDB 2.0 refuses `text > 3`, but makes a number of the text for `text = 3`, and a day of the number for `day = 3`,
which fails when a row does not fit. PostgreSQL refuses both, and so do we: a cast that the author did not write is
allowed within a family of types only. A constant in quotes is of any type, and a BOOLEAN beside a number is 0 or 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front.duckjson_types import type_of
from gpuquery.runner.query.sql.front.source import INVALID_INDEX
from gpuquery.runner.query.sql.front.tree import objects
from gpuquery.runner.query.sql.types import TEXT, Kind, Type

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gpuquery.runner.query.sql.errors import Place
    from gpuquery.runner.query.sql.front.source import Source

Json = dict[str, Any]

_MOMENTS = frozenset({Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_TZ})


def written_casts(tree: Json) -> frozenset[int]:
    """Return the byte offsets of the casts in the text: DuckDB's plan does not distinguish them from its own."""
    return frozenset(node["query_location"] for node in objects(tree) if node.get("class") == "CAST")


def check(sides: Sequence[Json], written: Collection[int], source: Source, kinds: Mapping[str, str]) -> None:
    """Raise SqlError for a comparison whose sides, in DuckDB's form, are cast to another family of types.

    `kinds` are the parameters' kinds in words, by their names.
    """
    for side in sides:
        if side.get("type") != "OPERATOR_CAST" or side["query_location"] in written:
            continue
        (inner,) = side["children"]
        constant = inner["expression_class"] == "BOUND_CONSTANT"
        was = type_of(inner["value"]["type"] if constant else inner.get("return_type", _BOOLEAN))
        parameter = source.parameter(inner["query_location"])
        if was.kind is Kind.NULL or (constant and was.kind is Kind.TEXT):
            continue  # a string of the author is of any type, one of a parameter is judged where it is cast
        to = type_of(side["return_type"])
        if _family(was) == _family(to):
            continue
        place: Place | None = source.place(side["query_location"], side["query_location_length"])
        name = parameter or next(
            (n for s in sides if (n := source.parameter(s.get("query_location", INVALID_INDEX)))), None
        )
        if not name and was.kind is Kind.BOOLEAN and to.is_number:
            continue
        if name:
            way_out = "give it another kind, or cast one of the two"
            other = to if parameter else was
            raise SqlError(f"parameter :{name} is {kinds[name]}, which is compared with {other} here: {way_out}", place)
        raise SqlError(f"{was} and {to} cannot be compared: cast one of them", place)


def is_of_pivot(node: Json) -> bool:
    """Whether PIVOT has made a comparison: of texts, whatever the type of the column, and at no place of the text."""
    return node.get("type") == "COMPARE_NOT_DISTINCT_FROM" and node["query_location"] >= INVALID_INDEX


def check_pivot(sides: Sequence[Json]) -> None:
    """Raise SqlError where a number has more than one text: PIVOT would not find 1.5 in a DECIMAL(9, 2)."""
    for side in sides:
        made = side.get("type") == "OPERATOR_CAST" and side["query_location"] >= INVALID_INDEX
        if made and side["children"][0]["expression_class"] != "BOUND_CONSTANT":
            was = type_of(side["children"][0].get("return_type", _BOOLEAN))
            if was.is_number and not was.is_integer:
                way_out = f"PIVOT ... ON CAST(column AS {TEXT}) IN ('1.50')"
                raise SqlError(f"PIVOT compares texts, and a {was} has several: write {way_out}")


_BOOLEAN = {"id": "BOOLEAN", "type_info": None}
"""Of AND and OR, which have no type in DuckDB's form."""


def _family(kind: Type) -> object:
    if kind.is_number:
        return "number"
    return "moment" if kind.kind in _MOMENTS else kind.kind
