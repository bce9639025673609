"""Inputs as tables of the binder: their names, whatever is in them, and their types."""

from __future__ import annotations

import pytest

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front import catalog
from gpuquery.runner.query.sql.plan import Project, Scan
from gpuquery.runner.query.sql.types import INTEGER, TEXT, Kind, Type, UnsupportedType, decimal, list_of, struct
from tests.support.sql_front import bound, refused

TYPES = [
    *(Type(kind) for kind in Kind if kind not in (Kind.DECIMAL, Kind.LIST, Kind.STRUCT, Kind.LAMBDA, Kind.NULL)),
    decimal(38, 38),
    decimal(1, 0),
    Type(Kind.TIMESTAMP, unit="ns"),
    Type(Kind.TIMESTAMP, unit="ms"),
    Type(Kind.TIMESTAMP, unit="s"),
    list_of(list_of(INTEGER)),
    struct(("a b", INTEGER), ('q"', list_of(TEXT)), ("Ä", decimal(5, 2))),
]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_a_type_comes_back_as_it_went(kind: Type) -> None:
    made = bound("SELECT v FROM t", {"t": {"v": kind}}).relation
    assert isinstance(made, Project)
    assert made.items[0].value.type == kind


@pytest.mark.parametrize(
    "name",
    [
        "select",
        "order",
        "T",
        "a b",
        'q"uote',
        "it's",
        "naïve",
        "表",
        "a.b",
        "1st",
        "main",
        "pg_class",
        "a;b",
        "memory",
        "--",
    ],
)
def test_a_name_of_any_shape_is_read_in_double_quotes(name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    made = bound(f"SELECT {quoted}, x.{quoted} AS z FROM {quoted} AS x", {name: {name: INTEGER}})
    assert made.names == (name, "z")
    assert isinstance(made.relation, Project)
    assert made.relation.input == Scan(name, made.relation.input.fields)


def test_names_are_not_case_sensitive_and_results_are_named_as_the_input_names_them() -> None:
    made = bound('SELECT orderkey, "ORDERKEY" AS k FROM ORDERS', {"orders": {"OrderKey": INTEGER}})
    assert made.names == ("OrderKey", "k")


@pytest.mark.parametrize(
    ("schemas", "message"),
    [
        (
            {"Orders": {"a": INTEGER}, "orders": {"a": INTEGER}},
            'the inputs "Orders" and "orders" differ only in the case',
        ),
        ({"t": {}}, 'input "t" has no columns'),
    ],
)
def test_names_that_sql_cannot_tell_apart_are_refused(schemas: dict[str, dict[str, Type]], message: str) -> None:
    told, _ = refused("SELECT 1", schemas)
    assert told.startswith(message)


ODD = {"t": {"id": INTEGER, "h": UnsupportedType("has the type X"), "a": INTEGER, "A": TEXT}}


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("SELECT id FROM t", id="nobody asks for it"),
        pytest.param("SELECT count(*) FROM t AS x", id="rows are counted"),
        pytest.param('SELECT * EXCLUDE (h, "A") FROM t', id="it is left out"),
        pytest.param("SELECT h FROM (SELECT id AS h FROM t) AS q", id="another column has its name"),
    ],
)
def test_a_column_that_sql_cannot_use_is_in_nobodys_way(statement: str) -> None:
    assert bound(statement, ODD).names


@pytest.mark.parametrize(
    ("statement", "message", "place"),
    [
        ("SELECT h FROM t", 'column "h" of input "t" has the type X, or leave it out, as in * EXCLUDE ("h")', "h"),
        ("SELECT sum(x.H) FROM t AS x", 'column "h" of input "t" has the type X', "x.H"),
        ("SELECT h.f FROM t", 'column "h" of input "t" has the type X', "h.f"),
        ("SELECT * FROM t", 'column "h" of input "t" has the type X', "*"),
        ("SELECT 1 FROM t WHERE a = 1", 'column "a" of input "t" also exists as "A", and names in SQL', "a"),
        ('SELECT "A" FROM t', 'column "a" of input "t" also exists as "A", and names in SQL', '"A"'),
    ],
)
def test_a_column_that_sql_cannot_use_is_refused_where_it_is_used(statement: str, message: str, place: str) -> None:
    told, where = refused(statement, ODD)
    assert told.startswith(message)
    assert where == place


def test_a_cte_named_like_an_input_hides_it_within_its_scope() -> None:
    inner = "(WITH t AS (SELECT x AS i FROM u) SELECT i FROM t)"
    made = bound(f"SELECT a.i, b.i FROM {inner} AS a, t AS b", {"t": {"i": INTEGER}, "u": {"x": TEXT}})
    assert [field.type for field in made.relation.fields] == [TEXT, INTEGER]


def test_two_columns_of_one_name_get_two_names() -> None:
    assert bound("SELECT i, i, I AS i_1 FROM t").names == ("i", "i_1", "i_1_1")


def test_the_binders_connection_reaches_nothing() -> None:
    session = catalog.connection({"t": {"i": INTEGER}})
    asked = "SELECT current_setting($1)"
    wanted = {"enable_external_access": False, "lock_configuration": True, "TimeZone": "UTC", "threads": 1}
    wanted |= {"autoload_known_extensions": False, "autoinstall_known_extensions": False, "max_expression_depth": 250}
    wanted |= {"allow_community_extensions": False, "python_enable_replacements": False}
    found = {name: session.execute(asked, [name]).fetchall()[0][0] for name in wanted}
    assert found == wanted


def test_one_statement_leaves_nothing_to_the_next() -> None:
    bound("SELECT :n", n=("integer", 1))
    with pytest.raises(SqlError, match="no value"):
        bound("SELECT :n")
    session = catalog.connection({"t": {"i": INTEGER}})
    assert session.execute("SELECT count(*) FROM duckdb_variables()").fetchall() == [(0,)]
