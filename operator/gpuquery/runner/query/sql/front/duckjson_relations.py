"""DuckDB's JSON for the operators of a bound, not optimized plan, as relations of our plan.

DuckDB 2.0.1, `json_serialize_plan(sql, optimize := false)`. Every operator has a closed list of keys (`duckjson_keys`);
a key that is not in it, or one of weight with a value that has no counterpart here, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front.duckjson_expressions import Reader, RowIdColumn, comparison, not_supported
from gpuquery.runner.query.sql.front.duckjson_keys import check_keys
from gpuquery.runner.query.sql.front.duckjson_types import type_of, value_of
from gpuquery.runner.query.sql.front.duckjson_windows import window
from gpuquery.runner.query.sql.front.subqueries import scalar
from gpuquery.runner.query.sql.front.validate import TABLE_FUNCTIONS
from gpuquery.runner.query.sql.plan import (
    ONE_ROW,
    Aggregate,
    Call,
    Cast,
    Column,
    Distinct,
    Expression,
    Field,
    Filter,
    Item,
    Join,
    JoinKind,
    Limit,
    Literal,
    Match,
    Project,
    Recursive,
    Reference,
    Relation,
    Scan,
    SetKind,
    SetOperation,
    Sort,
    Unnest,
    Values,
    Window,
    With,
)
from gpuquery.runner.query.sql.types import BIGINT, BOOLEAN, Kind, Type, UnsupportedType, list_of
from gpuquery.runner.query.sql.walk import conjunction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.query.sql.front.ties import Ties
    from gpuquery.runner.query.sql.types import Columns

Json = dict[str, Any]

_DUMMY = Values(rows=((Literal(type=BOOLEAN, value=None),),), columns=(Field("dummy", BOOLEAN),))
"""One row: what stands below a SELECT without FROM has one column in DuckDB, which is counted and never used."""
_VIRTUAL = 2**63
"""Numbers from here on are those of columns that no table has: rowid, which also stands where only rows count."""
_JOINS = {kind.value: kind for kind in JoinKind}


@dataclass
class Relations:
    """Reads one plan."""

    reader: Reader
    schemas: Mapping[str, Columns]
    """The inputs, by the names of the tables that stand for them."""
    ties: Ties
    shared: dict[int, tuple[Field, ...]] = field(default_factory=dict)
    """Columns of the shared relations around the operator that is being read, by their numbers."""

    def read(self, json: Json) -> Relation:
        """Return the relation; raises SqlError for an operator that our plan does not have."""
        kind = json["type"]
        check_keys(kind, json)
        match kind:
            case "LOGICAL_GET":
                return self._get(json)
            case "LOGICAL_DUMMY_SCAN":
                return _DUMMY
            case "LOGICAL_EMPTY_RESULT":
                kinds = [type_of(t) for t in json["return_types"]]
                return Values(rows=(), columns=tuple(Field(f"c{i}", k) for i, k in enumerate(kinds)))
            case "LOGICAL_EXPRESSION_GET":
                return self._values(json)
            case "LOGICAL_CTE_REF":
                return self._reference(json)
            case "LOGICAL_MATERIALIZED_CTE":
                return self._with(json)
            case "LOGICAL_RECURSIVE_CTE":
                return self._recursive(json)
            case "LOGICAL_UNION" | "LOGICAL_INTERSECT" | "LOGICAL_EXCEPT":
                return self._set_operation(json)
            case "LOGICAL_CROSS_PRODUCT":
                left, right = (self.read(c) for c in json["children"])
                if isinstance(right, Join) and right.kind is JoinKind.SINGLE and right.left is ONE_ROW:
                    return Join(left, right.right, JoinKind.SINGLE)
                return Join(left, right)
            case "LOGICAL_COMPARISON_JOIN" | "LOGICAL_ASOF_JOIN" | "LOGICAL_ANY_JOIN":
                return self._join(json)
            case _:
                return self._unary(json)

    def _unary(self, json: Json) -> Relation:
        below = self.read(json["children"][0])
        if below is _DUMMY and json["type"] == "LOGICAL_PROJECTION":
            below = ONE_ROW
        reader = self.reader.over(below.fields, json["children"][0].get("table_index"))
        match json["type"]:
            case "LOGICAL_FILTER":
                return select_columns(
                    Filter(below, conjunction(reader.all(json["expressions"]))), json["projection_map"]
                )
            case "LOGICAL_PROJECTION":
                project = Project(below, _items(reader, json["expressions"], below.fields))
                return Join(ONE_ROW, one, JoinKind.SINGLE) if (one := scalar(project)) else project
            case "LOGICAL_ORDER_BY":
                return select_columns(Sort(below, reader.keys(json["orders"])), json["projections"])
            case "LOGICAL_AGGREGATE_AND_GROUP_BY":
                return _aggregate(json, below, reader)
            case "LOGICAL_WINDOW":
                calls = tuple(window(e, reader) for e in json["expressions"])
                return Window(below, calls)
            case "LOGICAL_LIMIT":
                return self.ties.limit(_limit(json, below))
            case "LOGICAL_DISTINCT":
                return _distinct(json, below, reader)
            case "LOGICAL_UNNEST":
                return _unnest(json, below, reader)
            case other:
                raise not_supported(other.removeprefix("LOGICAL_"))

    # Leaves

    def _get(self, json: Json) -> Relation:
        function = json["qname"]["path"][-1]
        if function in TABLE_FUNCTIONS:
            return self._table_function(json, function)
        if function != "seq_scan":
            raise SqlError("a table of the system is refused: a query reads only the job's inputs")
        data = json["function_data"]
        name = data["table"]
        if data["schema"] != "main" or name not in self.schemas:
            raise SqlError(f'table "{name}" is not an input of the job')
        schema = self.schemas[name]
        if any(c["child_indexes"] or not c["has_index"] for c in json["column_indexes"]):
            raise not_supported("a part of a column")
        names = [json["names"][c["index"]] if c["index"] < _VIRTUAL else None for c in json["column_indexes"]]
        columns = tuple(_cheapest(name, schema) if column is None else _field(name, schema, column) for column in names)
        return select_columns(Scan(name, columns), json["projection_ids"])

    def _values(self, json: Json) -> Relation:
        below = self.read(json["children"][0])
        fields = tuple(Field(f"col{i}", type_of(t)) for i, t in enumerate(json["expr_types"]))
        reader = self.reader.over(below.fields)
        rows = tuple(reader.all(row) for row in json["expressions"])
        if below is _DUMMY:
            return Values(rows, fields)
        made = [Project(below, tuple(Item(v, f.name) for v, f in zip(row, fields, strict=True))) for row in rows]
        return made[0] if len(made) == 1 else SetOperation(SetKind.UNION, True, tuple(made))

    def _reference(self, json: Json) -> Relation:
        number = json["cte_index"]
        if json["is_recurring"] or number not in self.shared:
            raise SqlError("RECURRING tables of a recursive query are not supported")
        return Reference(number, self.shared[number])

    # Shared relations

    def _with(self, json: Json) -> Relation:
        number = json["table_index"]
        shared = self.read(json["children"][0])
        self.shared[number] = shared.fields
        return With(number, _shared_name(json["ctename"]), shared, self.read(json["children"][1]))

    def _recursive(self, json: Json) -> Relation:
        number = json["table_index"]
        base = self.read(json["children"][0])
        self.shared[number] = base.fields
        self._check_step(json)
        return Recursive(number, json["ctename"], json["union_all"], base, self.read(json["children"][1]))

    def _check_step(self, json: Json) -> None:
        """A step is cast to the types of the base, which would round: PostgreSQL refuses it, and so do we."""
        for expression in json["children"][1].get("expressions", ()):
            if expression.get("type") != "OPERATOR_CAST" or expression["query_location"] in self.reader.written:
                continue
            (inner,) = expression["children"]
            if "return_type" not in inner:
                continue
            was, to = type_of(inner["return_type"]), type_of(expression["return_type"])
            if (not was.is_integer and to.is_integer) or was.scale > to.scale:
                raise SqlError(
                    f'a column of the recursive query "{json["ctename"]}" is {to} in its first part and {was} in the '
                    "next one: cast one of them",
                    self.reader.place(expression),
                )

    def _set_operation(self, json: Json) -> Relation:
        kind = SetKind[json["type"].removeprefix("LOGICAL_")]
        return SetOperation(kind, json["setop_all"], tuple(self.read(c) for c in json["children"]))

    # Joins

    def _join(self, json: Json) -> Relation:
        left, right = (self.read(c) for c in json["children"])
        name = {"OUTER": "FULL"}.get(json["join_type"], json["join_type"])
        if name not in _JOINS:
            raise not_supported(f"a {name} join")
        kind = _JOINS[name]
        both = self.reader.over((*left.fields, *right.fields))
        matches: list[Match] = []
        rest: list[Expression] = []
        if json["type"] == "LOGICAL_ANY_JOIN":
            rest.append(both.read(json["condition"]))
        for condition in json.get("conditions", ()):
            if condition["comparison"] == "INVALID":  # a condition of another shape, over both sides
                rest.append(both.read(condition["left"]))
                continue
            both.check_comparison((condition["left"], condition["right"]))
            one = self.reader.over(left.fields).read(condition["left"])
            other = self.reader.over(right.fields).read(condition["right"])
            matches.append(Match(one, other, comparison(condition["comparison"])))
        join = Join(
            left,
            right,
            kind,
            tuple(matches),
            conjunction(rest) if rest else None,
            asof=json["type"] == "LOGICAL_ASOF_JOIN",
        )
        return self._mapped(json, join)

    def _mapped(self, json: Json, join: Join) -> Relation:
        """The columns of both sides that DuckDB keeps."""
        lefts, rights = json["left_projection_map"], json["right_projection_map"]
        if not lefts and not rights:
            return join
        width, total = len(join.left.fields), len(join.fields)
        lefts = lefts or range(width)
        if join.kind is JoinKind.MARK:
            return select_columns(join, [*lefts, width])
        if total == width:
            return select_columns(join, list(lefts))
        return select_columns(join, [*lefts, *(width + i for i in rights or range(total - width))])

    def _table_function(self, json: Json, function: str) -> Relation:
        """UNNEST, RANGE and GENERATE_SERIES as tables: of constants, or of columns of the relation below.

        DuckDB gives the function's columns, then those columns below that later parts need.
        """
        if json["children"]:
            below = self.read(json["children"][0])
            taken = self.reader.over(below.fields).columns
            arguments = [column for column in taken if column is not None][: json["positional_arguments"]]
        else:
            below = ONE_ROW
            arguments = [Literal(type=type_of(p["type"]), value=value_of(p)) for p in json["parameters"]]
        kept = [len(below.fields) + min(c["index"], len(json["names"]) - 1) for c in json["column_indexes"]]
        if any(c["index"] >= _VIRTUAL for c in json["column_indexes"]):
            kept = [len(below.fields)]
        made = Unnest(below, _elements(json, function, arguments))
        return select_columns(made, [*kept, *json["projected_input"]])


def _elements(json: Json, function: str, arguments: Sequence[Expression]) -> tuple[Item, ...]:
    """The lists whose elements are the rows: the argument itself, or what the function of the same name makes."""
    names, kinds = json["names"], [type_of(t) for t in json["returned_types"]]
    wanted = [type_of(t) for t in json["input_table_types"]]
    values = tuple(
        value if value.type == to else Cast(type=to, place=value.place, input=value)
        for value, to in zip(arguments, wanted, strict=True)
    )
    made = Call(type=list_of(kinds[0]), function=function, arguments=values)
    elements = values[0] if function == "unnest" else made
    found = [Item(elements, names[0])]
    if json["ordinality_idx"] < _VIRTUAL:
        length = Call(type=BIGINT, function="length", arguments=(elements,))
        one = Literal(type=BIGINT, value=1)
        found.append(Item(Call(type=list_of(BIGINT), function="generate_series", arguments=(one, length)), names[1]))
    return tuple(found)


class UnusableColumnError(SqlError):
    """A column that the statement uses, and that SQL has no type or no name of its own for."""

    def __init__(self, table: str, column: str, why: str) -> None:
        super().__init__(f'column "{column}" of input "{table}" {why}, or leave it out, as in * EXCLUDE ("{column}")')
        self.column = column


def _field(table: str, schema: Columns, column: str) -> Field:
    kind = schema[column]
    if isinstance(kind, UnsupportedType):
        raise UnusableColumnError(table, column, kind.reason)
    return Field(column, kind)


def _cheapest(table: str, schema: Columns) -> RowIdColumn:
    """The column to read where only the number of rows counts: a scan without columns would have no rows either."""
    usable = {name: kind for name, kind in schema.items() if isinstance(kind, Type)}
    if not usable:
        return RowIdColumn(*_field(table, schema, next(iter(schema))))
    name = min(usable, key=lambda column: _WIDTHS.get(usable[column].kind, len(_WIDTHS)))
    return RowIdColumn(name, usable[name])


_NARROW = (Kind.BOOLEAN, Kind.INT8, Kind.UINT8, Kind.INT16, Kind.UINT16, Kind.INT32, Kind.UINT32, Kind.DATE, Kind.INT64)
_WIDTHS = {kind: width for width, kind in enumerate(_NARROW)}


def select_columns(relation: Relation, positions: Sequence[int]) -> Relation:
    """Return a relation with only some columns; DuckDB's empty list means all."""
    fields = relation.fields
    if not positions or list(positions) == list(range(len(fields))):
        return relation
    items = tuple(Item(Column(type=fields[i].type, index=i), fields[i].name) for i in positions)
    return Project(relation, items)


def _items(reader: Reader, expressions: Sequence[Json], fields: Sequence[Field]) -> tuple[Item, ...]:
    return tuple(
        Item(value, _name(json, value, fields, i))
        for i, (json, value) in enumerate(zip(expressions, reader.all(expressions), strict=True))
    )


def _name(json: Json, value: Expression, fields: Sequence[Field], position: int) -> str:
    """The author's alias, or the name of the column, or one that says where it is."""
    if json["alias"] and not json["alias"].startswith("__"):
        return str(json["alias"]).replace("memory.main.", "")
    return fields[value.index].name if isinstance(value, Column) else f"column{position}"


def _shared_name(name: str) -> str:
    return "outer rows" if name.startswith("__duckdb") else name


def _aggregate(json: Json, below: Relation, reader: Reader) -> Relation:
    keys = _items(reader, json["groups"], below.fields)
    calls = tuple(reader.aggregate(e) for e in json["expressions"])
    sets = [tuple(sorted(s)) for s in json["grouping_sets"]]
    groupings = tuple(tuple(g) for g in json["grouping_functions"])
    plain = not groupings and sets in ([], [tuple(range(len(keys)))])
    return Aggregate(below, keys, calls, None if plain else tuple(sets), groupings)


_ALL_ROWS = 2**63 - 1
"""LIMIT NULL."""


def _limit(json: Json, below: Relation) -> Limit:
    count, offset = json["limit_val"], json["offset_val"]
    for part in (count, offset):
        if part["type"] not in ("CONSTANT_VALUE", "CONSTANT_PERCENTAGE", "UNSET"):
            raise SqlError("LIMIT and OFFSET take constants or parameters, not columns or sub-queries")
    if offset["type"] == "CONSTANT_PERCENTAGE":
        raise SqlError("OFFSET takes a number of rows, not a percentage")
    percent = count["constant_percentage"] if count["type"] == "CONSTANT_PERCENTAGE" else None
    rows = count["constant_integer"] if count["type"] == "CONSTANT_VALUE" else None
    rows = None if rows == _ALL_ROWS else rows
    return Limit(below, rows, offset["constant_integer"] if offset["type"] == "CONSTANT_VALUE" else 0, percent)


def _distinct(json: Json, below: Relation, reader: Reader) -> Relation:
    targets = reader.all(json["distinct_targets"])
    order = reader.keys(json["order_by"]["orders"]) if json["order_by"] else ()
    positions = [t.index for t in targets if isinstance(t, Column)]
    if json["distinct_type"] == "DISTINCT" and positions == list(range(len(below.fields))):
        return Distinct(below)
    return Distinct(below, targets, order)


def _unnest(json: Json, below: Relation, reader: Reader) -> Relation:
    lists = []
    for i, expression in enumerate(json["expressions"]):
        if expression["expression_class"] != "BOUND_UNNEST":
            raise not_supported(expression["expression_class"].removeprefix("BOUND_"), reader.place(expression))
        lists.append(Item(reader.read(expression["child"]), expression["alias"] or f"unnest{i or ''}"))
    return Unnest(below, tuple(lists))
