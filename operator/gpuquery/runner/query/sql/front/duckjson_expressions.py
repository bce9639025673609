"""DuckDB's JSON for bound expressions, as expressions of our plan.

DuckDB 2.0.1: columns are positions in the relation below (BOUND_REF), casts and comparisons are functions. A part that
this does not know is refused, by its name and with its place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.errors import Place, SqlError
from gpuquery.runner.query.sql.front import calls, comparable, names, rows
from gpuquery.runner.query.sql.front.constants import ConstantFolder, with_stored_arguments
from gpuquery.runner.query.sql.front.duckjson_keys import check_keys
from gpuquery.runner.query.sql.front.duckjson_types import type_of, value_of
from gpuquery.runner.query.sql.plan import (
    AggregateCall,
    Call,
    Case,
    Cast,
    Column,
    Expression,
    Field,
    Lambda,
    Literal,
    Parameter,
    SortKey,
)
from gpuquery.runner.query.sql.types import BOOLEAN, TEXT, Kind, Type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.query.sql.front.calls import Signature
    from gpuquery.runner.query.sql.front.current_time import CurrentTime
    from gpuquery.runner.query.sql.front.source import Source

Json = dict[str, Any]

_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "is distinct from",
    "COMPARE_NOT_DISTINCT_FROM": "is not distinct from",
}
_LOGIC = {"CONJUNCTION_AND": "and", "CONJUNCTION_OR": "or"}
_OPERATORS = {
    "OPERATOR_NOT": "not",
    "OPERATOR_IS_NULL": "is null",
    "OPERATOR_IS_NOT_NULL": "is not null",
    "OPERATOR_COALESCE": "coalesce",
    "COMPARE_IN": "in",
}
_KINDS = {
    Kind.DATE: "a date",
    Kind.TIMESTAMP: "a timestamp",
    Kind.INT32: "an integer",
    Kind.INT64: "an integer",
    Kind.DOUBLE: "a number",
    Kind.DECIMAL: "a decimal",
    Kind.BOOLEAN: "a boolean",
}
_NULLS_FIRST = {"NULLS FIRST": True, "NULLS LAST": False}
_DIGITS = 38
_DESCENDING = {"DESCENDING": True, "ASCENDING": False}


def comparison(kind: str) -> str:
    """Return the operator of a comparison in our plan."""
    if kind not in _COMPARISONS:
        raise not_supported(f"comparison {kind}")
    return _COMPARISONS[kind]


def not_supported(what: str, place: Place | None = None) -> SqlError:
    """Return the refusal of a part of DuckDB's plan that has no counterpart in ours."""
    return SqlError(f"{what.replace('_', ' ').lower()} is not supported", place)


class RowIdColumn(Field):
    """A column that stands in its place only to be counted; whoever refers to it means DuckDB's rowid."""


@dataclass(frozen=True)
class Reader:
    """Reads expressions over the columns of the relation below."""

    source: Source
    current_time: CurrentTime
    constants: ConstantFolder
    written: frozenset[int]
    """Where the text has casts."""
    parameters: Mapping[str, str]
    """The parameters' kinds in words, by their names."""
    calls: Mapping[Signature, tuple[int, int]]
    """Where aggregates and window functions stand."""
    session_words: Mapping[int, str]
    """Where the text has names that may mean the session, and why that is refused."""
    columns: tuple[Expression | None, ...] = ()
    """What a position means: a column, or inside of a lambda one of its parameters. None for one that no table has."""

    table: int | None = None
    """DuckDB's number of the relation below, for the rare columns that it names so and not by position."""

    def over(self, fields: Sequence[Field], table: int | None = None) -> Reader:
        """Return a reader over a relation's columns."""
        columns = tuple(
            None if isinstance(f, RowIdColumn) else Column(type=f.type, index=i) for i, f in enumerate(fields)
        )
        return replace(self, columns=columns, table=table)

    def place(self, json: Json) -> Place | None:
        """Return where an expression stands in the author's text, as far as DuckDB says it."""
        return self.source.place(json["query_location"], json["query_location_length"])

    def call_place(self, json: Json, arguments: Sequence[Expression] = ()) -> Place | None:
        """Return where the call of an aggregate or a window function stands."""
        called = calls.signature(json)
        found = self.calls.get(called) or self.calls.get((called[0], calls.ONLY))
        return self.source.place(*found) if found else self._around(json, arguments)

    def read(self, json: Json) -> Expression:
        """Return the expression."""
        check_keys(json["expression_class"], json)
        match json["expression_class"]:
            case "BOUND_REF":
                return self._column(json, json["index"])
            case "BOUND_COLUMN_REF" if json["depth"] == 0 and json["binding"]["table_index"] == self.table:
                return self._column(json, json["binding"]["column_index"])
            case "BOUND_CONSTANT":
                return self._constant(json)
            case "BOUND_FUNCTION":
                return self._function(json)
            case "BOUND_CONJUNCTION":
                arguments = self.all(json["children"])
                return Call(
                    type=BOOLEAN,
                    place=self._around(json, arguments),
                    function=_LOGIC[json["type"]],
                    arguments=arguments,
                )
            case "BOUND_OPERATOR":
                return self._operator(json)
            case "BOUND_CASE":
                return self._case(json)
            case other:
                raise not_supported(other.removeprefix("BOUND_"), self.place(json))

    def all(self, items: Sequence[Json]) -> tuple[Expression, ...]:
        """Return the expressions."""
        return tuple(self.read(item) for item in items)

    def keys(self, orders: Sequence[Json]) -> tuple[SortKey, ...]:
        """Return the keys of an ORDER BY."""
        return tuple(
            SortKey(self.read(o["expression"]), _DESCENDING[o["type"]], _NULLS_FIRST[o["null_order"]]) for o in orders
        )

    def _column(self, json: Json, index: int) -> Expression:
        if index >= len(self.columns):
            raise not_supported("a column of another relation", self.place(json))
        found = self.columns[index]
        if found is None:
            raise SqlError("rowid is refused: the rows of an input have no row number and no order", self.place(json))
        return replace(found, place=self.place(json)) if isinstance(found, Column) else found

    def _constant(self, json: Json) -> Literal:
        place = self.place(json)
        if why := self.session_words.get(json["query_location"]):
            raise SqlError(why, place)
        return Literal(type=type_of(json["value"]["type"], place), place=place, value=value_of(json["value"], place))

    def _around(self, json: Json, parts: Sequence[Expression]) -> Place | None:
        """Return the place from the first part to the last one: DuckDB tells only where the operator stands."""
        places = [p for p in (self.place(json), *(part.place for part in parts)) if p is not None]
        return Place(min(p.start for p in places), max(p.end for p in places)) if places else None

    def _operator(self, json: Json) -> Expression:
        arguments = self._sides(json) if json["type"] == "COMPARE_IN" else self.all(json["children"])
        place = self._around(json, arguments)
        kind = type_of(json["return_type"], place)
        match json["type"]:
            case "COMPARE_IN" if rows.values(arguments[0]) is not None:
                found = [self._compared("=", arguments[0], item, place) for item in arguments[1:]]
                return (
                    found[0]
                    if len(found) == 1
                    else Call(type=BOOLEAN, place=place, function="or", arguments=tuple(found))
                )
            case known if known in _OPERATORS:
                return Call(type=kind, place=place, function=_OPERATORS[known], arguments=arguments)
            case "OPERATOR_TRY":
                raise SqlError("TRY(...) is not supported: use TRY_CAST for casts that may fail", place)
            case other:
                raise not_supported(other, place)

    def _case(self, json: Json) -> Case:
        branches = tuple((self.read(c["when_expr"]), self.read(c["then_expr"])) for c in json["case_checks"])
        return Case(
            type=type_of(json["return_type"], self.place(json)),
            place=self.place(json),
            branches=branches,
            otherwise=self.read(json["else_expr"]),
        )

    def _function(self, json: Json) -> Expression:
        kind = json["type"]
        if kind == "OPERATOR_CAST":
            return self._cast(json)
        if kind in _COMPARISONS:
            left, right = self._sides(json)
            return self._compared(_COMPARISONS[kind], left, right, self._around(json, (left, right)))
        if kind == "COMPARE_BETWEEN":
            return self._between(json)
        if kind != "BOUND_FUNCTION":
            raise not_supported(kind, self.place(json))
        return self._call(json)

    def _sides(self, json: Json) -> tuple[Expression, ...]:
        """The sides of a comparison, of types that may be compared."""
        if comparable.is_of_pivot(json):
            comparable.check_pivot(json["children"])
        else:
            self.check_comparison(json["children"])
        return self.all(json["children"])

    def check_comparison(self, sides: Sequence[Json]) -> None:
        """Raise SqlError for sides that DuckDB compares only by a cast that nobody wrote."""
        comparable.check(sides, self.written, self.source, self.parameters)

    def _compared(self, operator: str, left: Expression, right: Expression, place: Place | None) -> Expression:
        if row := rows.compared(operator, left, right, place, self.constants.folded):
            return row
        return Call(type=BOOLEAN, place=place, function=operator, arguments=(left, right))

    def _between(self, json: Json) -> Expression:
        value, low, high = self._sides(json)
        place = self._around(json, (value, low, high))
        data = json["function_data"]
        above = self._compared(">=" if data["lower_inclusive"] else ">", value, low, place)
        below = self._compared("<=" if data["upper_inclusive"] else "<", value, high, place)
        return Call(type=BOOLEAN, place=place, function="and", arguments=(above, below))

    def _cast(self, json: Json) -> Expression:
        (child,) = json["children"]
        value = self.read(child)
        place = self._around(json, (value,))
        to = type_of(json["return_type"], place)
        if json["query_location"] not in self.written:
            to = _wide_enough(to, value.type)
        if value.type == to:
            return value
        self._check_parameter(json, child, value, to)
        try_cast = json["function_data"]["try_cast"]
        return self.constants.folded(Cast(type=to, place=place, input=value, null_on_failure=try_cast))

    def _check_parameter(self, json: Json, child: Json, value: Expression, to: Type) -> None:
        """A parameter that is a string stands for a string: only an explicit cast makes something else of it."""
        if not isinstance(value, Literal) or value.type.kind is not Kind.TEXT:
            return
        name = self.source.parameter(child["query_location"])
        if name and self.source.parameter(json["query_location"]) == name:
            wanted = _KINDS.get(to.kind, "another kind")
            way_out = f"give it as {wanted} in spec.parameters, or write CAST(:{name} AS {to})"
            raise SqlError(f"parameter :{name} is a string, which does not fit {to} here: {way_out}", value.place)

    def _call(self, json: Json) -> Expression:
        name = json["qname"]["path"][-1].lower()
        place = self.place(json)
        kind = type_of(json["return_type"], place)
        if name in names.NOW:
            return self.current_time.constant(kind, place)
        if name not in names.BINDERS_OWN and (why := names.refusal(name)):
            raise SqlError(why, place)
        arguments = self._lambdas(json) if any(_is_lambda(c) for c in json["children"]) else self.all(json["children"])
        place = self._around(json, arguments)
        if name in names.NEGATED:
            inside = Call(type=BOOLEAN, place=place, function=names.NEGATED[name], arguments=arguments)
            return Call(type=BOOLEAN, place=place, function="not", arguments=(inside,))
        if name == "struct_pack":
            return self._packed(json, kind, arguments, place)
        function = _canonical(name, arguments)
        made = Call(type=_held(function, arguments, kind), place=place, function=function, arguments=arguments)
        return self.constants.folded(made)

    def _packed(self, json: Json, kind: Type, arguments: tuple[Expression, ...], place: Place | None) -> Expression:
        """Records: the names of the fields are in the type."""
        if [name for name, _ in kind.fields] != json["named_arguments"]:
            raise not_supported("a record with names of another order", place)
        return Call(type=kind, place=place, function="struct_pack", arguments=arguments)

    def _lambdas(self, json: Json) -> tuple[Expression, ...]:
        """Arguments with a lambda: behind it DuckDB puts the columns that its body takes from around it."""
        children = json["children"]
        at = next(i for i, c in enumerate(children) if _is_lambda(c))
        extra = 1 if json.get("function_data", {}).get("has_initial") else 0
        taken = self.all(children[at + 1 + extra :])
        item = children[at]
        before = self.all(children[:at])
        count = item["parameter_count"]
        kinds = _parameter_types(item["lambda_expr"], count, before[0].type.item)
        parameters = [Parameter(type=k, index=i) for i, k in enumerate(kinds)]
        columns = (*reversed(parameters), *(_one_lambda_deeper(e) for e in taken))
        body = replace(self, columns=columns).read(item["lambda_expr"])
        made = Lambda(type=Type(Kind.LAMBDA), parameters=kinds, body=body, place=self.place(item))
        return (*before, made, *self.all(children[at + 1 : at + 1 + extra]))

    def aggregate(self, json: Json) -> AggregateCall:
        """Return the call of an aggregate function."""
        check_keys("BOUND_AGGREGATE", json)
        name = json["qname"]["path"][-1].lower()
        if why := names.refusal(name):
            raise SqlError(why, self.place(json))
        function = names.AGGREGATES.get(name, name)
        arguments = self.all(json["children"])
        place = self.call_place(json, arguments)
        return AggregateCall(
            type=type_of(json["return_type"], place),
            place=place,
            function=function,
            arguments=with_stored_arguments(function, json, arguments)
            if function != "count"
            else rows.with_field_names(arguments),
            distinct=json["aggregate_type"] == "DISTINCT",
            filter=self.read(json["filter"]) if json["filter"] else None,
            order=self.keys(json["order_bys"]["orders"]) if json["order_bys"] else (),
        )


def _is_lambda(json: Json) -> bool:
    return bool(json["expression_class"] == "BOUND_LAMBDA")


def _held(function: str, arguments: Sequence[Expression], kind: Type) -> Type:
    """Return the type of a sum or product of decimals with all digits that it may have, which fit into 38.

    DuckDB 2.0 says 18 for those of two decimals of up to 18 digits, and fails where there are more.
    """
    if function not in ("+", "-", "*") or kind.kind is not Kind.DECIMAL or len(arguments) != 2:
        return kind
    before = [value.type.precision - value.type.scale for value in arguments]
    digits = (sum(before) if function == "*" else max(before) + 1) + kind.scale
    return replace(kind, precision=max(kind.precision, min(digits, _DIGITS)))


def _wide_enough(to: Type, was: Type) -> Type:
    """Return the type of a cast of DuckDB's own with room for all digits that a decimal may have: it never narrows."""
    if {to.kind, was.kind} != {Kind.DECIMAL}:
        return to
    return replace(to, precision=max(to.precision, min(was.precision - was.scale + to.scale, _DIGITS)))


def _one_lambda_deeper(value: Expression) -> Expression:
    """What the body of a lambda takes from around it, seen from inside."""
    return replace(value, depth=value.depth + 1) if isinstance(value, Parameter) else value


def _parameter_types(body: Json, count: int, item: Type | None) -> tuple[Type, ...]:
    """Types of a lambda's parameters: DuckDB tells them only where they are used; the element's type else."""
    found: dict[int, Type] = {}
    waiting: list[Any] = [body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            if node.get("expression_class") == "BOUND_REF" and node["index"] < count:
                found[node["index"]] = type_of(node["return_type"])
            waiting.extend(v for k, v in node.items() if k not in ("lambda_expr", "function_data"))
    return tuple(found.get(count - 1 - i, item or TEXT) for i in range(count))


def _canonical(name: str, arguments: Sequence[Expression]) -> str:
    first = arguments[0].type.kind if arguments else None
    if name == "contains" and first is Kind.LIST:
        return "list_contains"
    if name == "array_extract" and first is Kind.STRUCT:
        return "struct_extract"
    return names.ALIASES.get(name, name)
