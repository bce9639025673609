"""Parameters: typed values in the place of :name, never text, and told by name where they do not fit."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.runner.query.sql.plan import Expression, Filter, Limit, Literal, Project, Relation
from tests.support.sql_front import bound, refused
from tests.support.sql_plans import shown, text

if TYPE_CHECKING:
    from collections.abc import Iterator

MOMENT = dt.datetime(2020, 1, 1, 12)
HOSTILE = "x' OR 1=1 --\"); DROP TABLE t; $$ \\ é \0 ${}"
VALUES: dict[str, tuple[str, Any]] = {
    "n": ("integer", 7),
    "big": ("integer", 2**63 - 1),
    "low": ("integer", -(2**63)),
    "x": ("number", -1.5e300),
    "d": ("decimal", Decimal("-12.50")),
    "s": ("string", HOSTILE),
    "yes": ("boolean", True),
    "day": ("date", dt.date(1994, 1, 31)),
    "at": ("timestamp", MOMENT),
    "zone": ("timestamp", MOMENT.replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))),
    "texts": ("strings", ["a", HOSTILE]),
    "whole": ("integers", [1, -2]),
}


def _literals(node: Any) -> Iterator[Literal]:
    if isinstance(node, Literal):
        yield node
    elif isinstance(node, Relation | Expression) or hasattr(node, "__dataclass_fields__"):
        for name in node.__dataclass_fields__:
            yield from _literals(getattr(node, name))
    elif isinstance(node, tuple):
        for item in node:
            yield from _literals(item)


@pytest.mark.parametrize("name", [name for name in VALUES if name not in ("texts", "whole")])
def test_a_value_of_every_kind_arrives_as_it_is(name: str) -> None:
    made = bound(f"SELECT :{name}, ${name} FROM t", **{name: VALUES[name]})
    assert isinstance(made.relation, Project)
    assert [item.value.value for item in made.relation.items if isinstance(item.value, Literal)] == [
        VALUES[name][1]
    ] * 2
    assert made.names == (name, f"{name}_1")


@pytest.mark.parametrize("written", ["IN :v", "IN (:v)", "NOT IN :v", "IN ('q', :v)"])
def test_a_list_stands_for_its_elements_in_in(written: str) -> None:
    made = bound(f"SELECT i FROM t WHERE s {written}", v=VALUES["texts"])
    found = [literal.value for literal in _literals(made.relation)]
    assert found[-2:] == ["a", HOSTILE]


def test_a_list_is_one_value_elsewhere() -> None:
    made = bound("SELECT list_contains(:v, i), i = ANY(:v) FROM t", v=VALUES["whole"])
    assert [1, -2] in [literal.value for literal in _literals(made.relation)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT ':n', i FROM t WHERE i = :n",
        'SELECT i AS ":n" FROM t WHERE i = :n',
        "SELECT i /* :m */ FROM t -- :m\nWHERE i = :n",
        "SELECT $$ :m $m $$, i FROM t WHERE i = :n",
        "SELECT E'\\':m', i FROM t WHERE i = :n",
        "SELECT l[1:i], i::BIGINT, {'k':i} FROM t WHERE i = :n",
        "SELECT l[1:2], l[:n] FROM t",
        "SELECT CASE WHEN i=:n THEN :n ELSE-:n END FROM t",
        "SELECT i FROM t WHERE i>=:n AND i<:n+1 LIMIT :n OFFSET :n",
        "SELECT sum(b) OVER (ORDER BY i ROWS :n PRECEDING) FROM t",
        "SELECT i FROM t WHERE dt > DATE '2020-01-01' - INTERVAL :n DAY",
        "SELECT {a: :n}, [:n, 1], (:n) FROM t",
    ],
)
def test_only_what_stands_for_a_value_is_a_parameter(sql: str) -> None:
    assert 7 in [literal.value for literal in _literals(bound(sql, n=VALUES["n"]).relation)] or "7" in shown(
        bound(sql, n=VALUES["n"])
    )


def test_a_parameter_is_a_row_count_where_one_is_needed() -> None:
    made = bound("SELECT i FROM t LIMIT :n OFFSET :n", n=VALUES["n"]).relation
    assert isinstance(made, Limit)
    assert (made.count, made.offset) == (7, 7)


def test_a_limit_takes_whole_numbers_or_null() -> None:
    made = bound("SELECT i FROM t LIMIT :n", n=("integer", None)).relation
    assert isinstance(made, Limit)
    assert made.count is None
    told, where = refused("SELECT i FROM t LIMIT :s", s=("string", "3"))
    assert (told, where) == ("parameter :s is a string, and LIMIT and OFFSET take an integer", ":s")


def test_a_string_does_not_become_anything_else_by_itself() -> None:
    made = bound("SELECT i FROM t WHERE dt >= CAST(:s AS DATE) AND ts < :s::TIMESTAMP", s=("string", "2020-01-01"))
    assert "datetime.date(2020, 1, 1)" in shown(made)
    told, where = refused("SELECT i FROM t WHERE dt >= :s", s=("string", "2020-01-01"))
    assert told == (
        "parameter :s is a string, which does not fit DATE here: give it as a date in spec.parameters, "
        "or write CAST(:s AS DATE)"
    )
    assert where == ":s"


def test_a_null_takes_the_type_of_its_use() -> None:
    made = bound("SELECT i FROM t WHERE s = :s AND dt > :day", s=("string", None), day=("date", None)).relation
    assert isinstance(made, Project)
    assert isinstance(made.input, Filter)
    assert text(made.input.condition) == "and(=(#0, None:VARCHAR):BOOLEAN, >(#1, None:DATE):BOOLEAN):BOOLEAN"


@pytest.mark.parametrize(
    ("sql", "name", "message", "where"),
    [
        (
            "SELECT i FROM t WHERE dt > :n",
            "n",
            "parameter :n is an integer, which does not fit a comparison of DATE with "
            "INTEGER: give it another kind, or cast it",
            "dt > :n",
        ),
        (
            "SELECT i FROM t WHERE s = :n",
            "n",
            "parameter :n is an integer, which is compared with VARCHAR here: give it "
            "another kind, or cast one of the two",
            "s",
        ),
        (
            "SELECT i FROM t WHERE s IN (:n, 'a')",
            "n",
            "parameter :n is an integer, which is compared with VARCHAR here: give it "
            "another kind, or cast one of the two",
            "s",
        ),
        (
            "SELECT i FROM t WHERE bo = :n",
            "n",
            "parameter :n is an integer, which is compared with BOOLEAN here: give it "
            "another kind, or cast one of the two",
            "bo",
        ),
        (
            "SELECT i FROM t WHERE i = :yes",
            "yes",
            "parameter :yes is a boolean, which is compared with INTEGER here: give it "
            "another kind, or cast one of the two",
            ":yes",
        ),
        (
            "SELECT i FROM t WHERE s = :day",
            "day",
            "parameter :day is a date, which is compared with VARCHAR here: give it another "
            "kind, or cast one of the two",
            "s",
        ),
        (
            "SELECT i FROM t WHERE s LIKE :n",
            "n",
            'parameter :n is an integer, which does not fit the operator "LIKE" with '
            "(VARCHAR, INTEGER): give it another kind, or cast it",
            "LIKE :n",
        ),
        ("SELECT i FROM :s", "s", "parameter :s stands for a name; it can only be a value", ":s"),
        ("SELECT i AS :s FROM t", "s", "parameter :s stands for a name; it can only be a value", ":s"),
        ("SELECT 'é', :m FROM t", "n", "parameter :m has no value (spec.parameters: n)", ":m"),
        ("SELECT i FROM t", "n", 'parameter "n" is not used by the query: remove it or write :n', None),
        (
            "SELECT getvariable('p0'), :n",
            "n",
            "getvariable() is refused: a query reads only the job's inputs, with functions of their values",
            "getvariable('p0')",
        ),
    ],
)
def test_what_does_not_fit_is_told_by_the_parameter(sql: str, name: str, message: str, where: str | None) -> None:
    assert refused(sql, **{name: VALUES[name]}) == (message, where)


def test_names_that_differ_in_case_are_two_parameters() -> None:
    made = bound("SELECT :n, :N", n=("integer", 1), N=("integer", 2)).relation
    assert [literal.value for literal in _literals(made)] == [1, 2]


def test_places_behind_parameters_are_the_authors() -> None:
    sql = "SELECT 'é', :s, :n FROM t WHERE nothing > :n"
    _, where = refused(sql, s=VALUES["s"], n=VALUES["n"])
    assert where == "nothing"
