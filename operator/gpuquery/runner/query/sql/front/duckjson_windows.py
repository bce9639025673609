"""DuckDB's JSON for window functions, as calls of our plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front import names
from gpuquery.runner.query.sql.front.constants import with_stored_arguments
from gpuquery.runner.query.sql.front.duckjson_expressions import Reader, not_supported
from gpuquery.runner.query.sql.front.duckjson_keys import check_keys
from gpuquery.runner.query.sql.front.duckjson_types import type_of
from gpuquery.runner.query.sql.plan import Bound, Call, Cast, Exclude, Expression, Frame, FrameUnit, Literal, WindowCall
from gpuquery.runner.query.sql.types import BIGINT

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.errors import Place

Json = dict[str, Any]

_FUNCTIONS = {
    "WINDOW_ROW_NUMBER": "row_number",
    "WINDOW_RANK": "rank",
    "WINDOW_RANK_DENSE": "dense_rank",
    "WINDOW_PERCENT_RANK": "percent_rank",
    "WINDOW_CUME_DIST": "cume_dist",
    "WINDOW_NTILE": "ntile",
    "WINDOW_LAG": "lag",
    "WINDOW_LEAD": "lead",
    "WINDOW_FIRST_VALUE": "first_value",
    "WINDOW_LAST_VALUE": "last_value",
    "WINDOW_NTH_VALUE": "nth_value",
    "WINDOW_FILL": "fill",
}
_FRAMELESS = frozenset(
    {"row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "fill"}
)
_EXCLUDE = {
    "NO_OTHER": Exclude.NO_OTHERS,
    "CURRENT_ROW": Exclude.CURRENT_ROW,
    "GROUP": Exclude.GROUP,
    "TIES": Exclude.TIES,
}


def window(json: Json, reader: Reader) -> WindowCall:
    """Return the call of a window function, over the columns of the relation below."""
    if json["expression_class"] != "BOUND_WINDOW":
        raise not_supported(json["expression_class"].removeprefix("BOUND_"), reader.place(json))
    check_keys("BOUND_WINDOW", json)
    place = reader.call_place(json)
    function = _function(json, place)
    kind = type_of(json["return_type"], place)
    arguments = reader.all(json["children"])
    if json["type"] == "WINDOW_AGGREGATE":
        arguments = with_stored_arguments(function, json, arguments)
    if function in ("lag", "lead"):
        one = Literal(type=BIGINT, value=1)
        null = Literal(type=kind, value=None)
        arguments = (*arguments, *(one, null)[len(arguments) - 1 :])
    argument_order = reader.keys(json["arg_orders"])
    frame = None if function in _FRAMELESS and not argument_order else _frame(json, reader, place)
    return WindowCall(
        type=kind,
        place=place,
        function=function,
        arguments=arguments,
        partition=reader.all(json["partitions"]),
        order=reader.keys(json["orders"]),
        frame=frame,
        distinct=json["distinct"],
        ignore_nulls=json["ignore_nulls"],
        filter=reader.read(json["filters"]) if json["filters"] else None,
        argument_order=argument_order,
    )


def _function(json: Json, place: Place | None) -> str:
    if json["type"] == "WINDOW_AGGREGATE":
        name = str(json["qname"]["path"][-1]).lower()
        if why := names.refusal(name):
            raise SqlError(why, place)
        return names.AGGREGATES.get(name, name)
    if json["type"] not in _FUNCTIONS:
        raise not_supported(json["type"].removeprefix("WINDOW_"), place)
    return _FUNCTIONS[json["type"]]


def _frame(json: Json, reader: Reader, place: Place | None) -> Frame:
    start, end = json["start"], json["end"]
    units = {k.rsplit("_", 1)[1] for k in (start, end)} & set(FrameUnit)
    if len(units) > 1:
        raise not_supported("a frame of two units", place)
    unit = FrameUnit(units.pop()) if units else FrameUnit.RANGE
    return Frame(
        unit,
        _bound(start, json["start_expr"], unit, reader, place),
        _bound(end, json["end_expr"], unit, reader, place),
        _EXCLUDE[json["exclude_clause"]],
    )


def _bound(kind: str, offset: Json | None, unit: FrameUnit, reader: Reader, place: Place | None) -> Bound:
    following = "FOLLOWING" in kind
    if kind.startswith("UNBOUNDED_"):
        return Bound(following, unbounded=True)
    if kind.startswith("CURRENT_ROW_"):
        return Bound(following=False)
    if not kind.startswith("EXPR_") or offset is None:
        raise not_supported(f"a frame that ends at {kind}", place)
    value = reader.read(offset)
    return Bound(following, _distance(value) if unit is FrameUnit.RANGE else value)


def _distance(value: Expression) -> Expression:
    """RANGE: DuckDB has already taken the offset from the key of the order, or added it; the offset is what we need."""
    while isinstance(value, Cast):
        value = value.input
    if not isinstance(value, Call) or value.function not in ("+", "-") or len(value.arguments) != 2:
        raise not_supported("a frame with such an offset", value.place)
    return value.arguments[1]
