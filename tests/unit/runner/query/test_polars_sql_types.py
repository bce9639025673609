"""What the types of the columns tell before a query runs: lost decimals and parameters of another kind."""

from decimal import Decimal

import polars as pl
import pytest

from gpuquery.api.spec import Parameter
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query import params
from gpuquery.runner.query.polars_sql import plan as sql_plan
from gpuquery.runner.query.polars_sql import tree as sql
from gpuquery.runner.query.polars_sql import types as sql_types

MONEY = pl.Decimal(15, 2)
SCHEMAS = {
    "items": pl.Schema({"price": MONEY, "off": MONEY, "tax": MONEY, "n": pl.Int64, "f": pl.Float64, "s": pl.String,
                        "day": pl.Date, "ok": pl.Boolean}),
    "rates": pl.Schema({"n": pl.Int64, "rate": pl.Decimal(10, 3)}),
}  # fmt: skip


def bound(text, **parameters):
    values = params.values({name: Parameter.model_validate(p) for name, p in parameters.items()})
    return sql.bind(sql.read(text, inputs=SCHEMAS), values)


LOSING = [
    pytest.param("select sum(price * (1 - off)) from items", 2, 4, "CAST(price AS DECIMAL(38, 4))", id="two decimals"),
    pytest.param(
        "select price * (1 - off) * (1 + tax) from items", 2, 6, "CAST(price AS DECIMAL(38, 6))", id="three decimals"
    ),
    pytest.param(
        "select cast(price as decimal(38, 4)) * (1 - off) * tax from items", 4, 6, "CAST(price AS DECIMAL(38, 6))",
        id="a cast that is too narrow",
    ),
    pytest.param("select -price * (off) from items", 2, 4, "DECIMAL(38, 4)", id="signs and brackets"),
    pytest.param(
        "with q as (select price as p, n from items) select sum(q.p * rate) from q join rates on q.n = rates.n",
        3, 5, "CAST(q.p AS DECIMAL(38, 5))", id="through a CTE and a join",
    ),
    pytest.param("select p * p from (select price p from items) x", 2, 4, "DECIMAL(38, 4)", id="through a sub-query"),
    pytest.param("with q as (select * from items) select price * off from q", 2, 4, "DECIMAL(38, 4)", id="through a *"),
    pytest.param("select sum(price) * min(off) from items", 2, 4, "DECIMAL(38, 4)", id="of aggregates"),
    pytest.param(
        "select case when ok then price else 0 end * off from items", 2, 4, "DECIMAL(38, 4)", id="of a CASE"
    ),
    pytest.param("select n from items where price * off > 1", 2, 4, "DECIMAL(38, 4)", id="in a condition"),
    pytest.param("select price from items union select price * off from items", 2, 4, "38, 4", id="in a union"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kept", "needed", "cast"), LOSING)
def test_a_product_of_decimals_that_loses_places_is_told_with_the_cast(text, kept, needed, cast):
    (warning,) = sql_types.decimal_warnings(bound(text), SCHEMAS)
    assert f"keeps {kept} of its {needed} decimal places" in warning
    assert cast in warning
    assert warning.startswith("line 1, column ")


def test_a_decimal_parameter_counts_like_a_column():
    (warning,) = sql_types.decimal_warnings(bound("select price * :r from items", r={"decimal": "0.05"}), SCHEMAS)
    assert "price * :r keeps 2 of its 4" in warning


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("select sum(cast(price as decimal(38, 4)) * (1 - off)) from items", id="with the cast"),
        pytest.param("select cast(price as decimal(38, 6)) * (1 - off) * (1 + tax) from items", id="a wide cast"),
        pytest.param("select price * 2 * n from items", id="whole numbers"),
        pytest.param("select price * f, price * 0.5 from items", id="floats"),
        pytest.param("select price + off, price / off from items", id="no product"),
        pytest.param("select off * unknown(price) from items", id="an unknown function"),
        pytest.param("select a.n * b.n from items a, rates b", id="numbers of two tables"),
    ],
)
def test_what_loses_nothing_is_not_told(text):
    assert sql_types.decimal_warnings(bound(text), SCHEMAS) == ()


def test_the_cast_that_is_told_gives_all_digits():
    cents = pl.DataFrame({"price": [Decimal("0.95")], "off": [Decimal("0.05")]}, schema={"price": MONEY, "off": MONEY})
    frames = {"items": cents.lazy()}
    query = "select {} * (1 - off) as x from items"
    lost = sql_plan.plan(bound(query.format("price")), frames).collect()["x"][0]
    kept = sql_plan.plan(bound(query.format("CAST(price AS DECIMAL(38, 4))")), frames).collect()["x"][0]
    assert (lost, kept) == (Decimal("0.90"), Decimal("0.9025"))


@pytest.mark.parametrize(
    ("text", "given", "words"),
    [
        pytest.param("select n from items where day > :p", {"string": "1994-01-01"}, ["Date", "as date"], id="a text"),
        pytest.param("select n from items where n = :p", {"string": "1"}, ["Int64", "integer"], id="text for a number"),
        pytest.param("select n from items where s = :p", {"integer": 1}, ["String", "string"], id="a number"),
        pytest.param("select n from items where s in :p", {"integers": [1]}, ["String"], id="numbers for a text"),
        pytest.param("select n from items where n between 1 and :p", {"date": "1994-01-01"}, ["Int64"], id="a range"),
        pytest.param(
            "with q as (select day as d from items) select 1 from q where :p < d", {"integer": 1}, ["Date"], id="a CTE"
        ),
        pytest.param("select n from items where ok = :p", {"integer": 1}, ["Boolean", "boolean"], id="1 for true"),
    ],
)  # fmt: skip
def test_a_parameter_of_another_kind_than_its_column_is_named(text, given, words):
    with pytest.raises(JobError) as caught:
        sql_types.check_parameters(bound(text, p=given), SCHEMAS)
    for word in [":p", "line 1, column", *words]:
        assert word in caught.value.message


@pytest.mark.parametrize(
    ("text", "given"),
    [
        pytest.param(
            "select n from items where day > :p", {"timestamp": "1994-01-01T00:00:00"}, id="a moment for a day"
        ),
        pytest.param("select n from items where price > :p", {"integer": 1}, id="a whole number for a decimal"),
        pytest.param("select n from items where s like :p", {"string": "x"}, id="a pattern"),
        pytest.param("select n from items where day::varchar = :p", {"string": "x"}, id="a cast column"),
    ],
)
def test_a_parameter_that_fits_its_column_passes(text, given):
    sql_types.check_parameters(bound(text, p=given), SCHEMAS)
