"""A failure while a query runs says what was wrong, where in the text, and with which value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.compile import failures
from gpuquery.runner.query.sql.compile.cast import cast
from gpuquery.runner.query.sql.compile.expression import expression
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.compile.values import columns
from gpuquery.runner.query.sql.errors import Place
from gpuquery.runner.query.sql.types import BIGINT, BOOLEAN, DOUBLE, INTEGER, TEXT, Type, decimal
from tests.support.sql_values import both, bound

if TYPE_CHECKING:
    from pathlib import Path

ENGINES = pytest.mark.parametrize("engine", ["in-memory", "streaming"])
HERE = Place(7, 21)


def _explained(frame: pl.LazyFrame, engine: Any) -> tuple[str, Place | None] | None:
    try:
        frame.collect(engine=engine)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return failures.decoded_failure(error)
    raise AssertionError("nothing failed")


def _told(sql: str, engine: Any, **values: Any) -> tuple[str, str]:
    """Return the message of a failure, and the text at its place."""
    node, below = bound(sql, both())
    assert isinstance(below, plan.Scan)
    held = [(field.name, both().frame.schema[field.name]) for field in below.columns]
    frame = pl.LazyFrame({name: pl.Series([values[name], None], dtype=dtype) for name, dtype in held})
    scope = columns([field.name for field in below.columns], [field.type for field in below.columns])
    told = _explained(frame.select(r=expression(node, scope, CPU).expr), engine)
    assert told is not None
    message, place = told
    assert place is not None, message
    return message, f"SELECT {sql} AS r FROM t"[place.start : place.end]


@ENGINES
@pytest.mark.parametrize(
    ("sql", "values", "message", "at"),
    [
        pytest.param(
            "1 + CAST(a_text AS INT)",
            {"a_text": 'a "b"\n[c], "d"'},
            'the value a "b"\n[c], "d" is not a valid INTEGER',
            "CAST(a_text AS INT)",
            id="text with everything in it",
        ),
        pytest.param(
            "CASE WHEN a_i32 > 1 THEN error('no ' || a_text) ELSE a_i32 END",
            {"a_i32": 2, "a_text": "x"},
            "no x",
            "error('no ' || a_text)",
            id="error() in a branch of CASE, whose own type is that of NULL",
        ),
        pytest.param(
            "CAST(a_text AS DATE)",
            {"a_text": "2023-02-29"},
            "the value 2023-02-29 is not a valid DATE",
            "CAST(a_text AS DATE)",
            id="a day that does not exist",
        ),
        pytest.param(
            "CAST(a_i32 AS TINYINT)",
            {"a_i32": 300},
            "the value 300 does not fit into TINYINT",
            "CAST(a_i32 AS TINYINT)",
            id="a number out of range",
        ),
        pytest.param(
            "CAST(a_f64 AS DECIMAL(5, 2))",
            {"a_f64": 1e9},
            "the value 1000000000.0 does not fit into DECIMAL(5, 2)",
            "CAST(a_f64 AS DECIMAL(5, 2))",
            id="a DOUBLE without room",
        ),
        pytest.param(
            "CAST(a_i32 AS BIGINT) * CAST(a_i64 AS BIGINT)",
            {"a_i32": 4, "a_i64": 2**62},
            failures.too_large(f"the result {2**64}", BIGINT),
            "CAST(a_i32 AS BIGINT) * CAST(a_i64 AS BIGINT)",
            id="a product",
        ),
        pytest.param("7 // a_i32", {"a_i32": 0}, "division by zero", "7 // a_i32", id="a division by zero"),
        pytest.param(
            "2 + CAST(a_d38 AS HUGEINT) * (CAST(a_d38 AS HUGEINT) + 1)",
            {"a_d38": 10**30},
            failures.too_large(f"{10**30} * {10**30 + 1}"),
            "CAST(a_d38 AS HUGEINT) * (CAST(a_d38 AS HUGEINT) + 1)",
            id="a product of which both sides are computed",
        ),
        pytest.param(
            "CAST(a_tlist AS INTEGER[])",
            {"a_tlist": ["1", "x"]},
            "the value x is not a valid INTEGER",
            "CAST(a_tlist AS INTEGER[])",
            id="an element of a list",
        ),
    ],
)
def test_a_failure_tells_value_and_place(engine: str, sql: str, values: dict[str, Any], message: str, at: str) -> None:
    assert _told(sql, engine, **values) == (message, at)


@ENGINES
@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda f, e: f.filter(e > 1), id="in a filter"),
        pytest.param(lambda f, e: f.group_by("g").agg(e.sum()), id="in an aggregate"),
        pytest.param(lambda f, e: f.group_by(e.alias("k")).agg(pl.len()), id="in a key"),
        pytest.param(lambda f, e: f.select(e.sum().over("g")), id="in a window"),
        pytest.param(lambda f, e: f.sort(e), id="in an order"),
        pytest.param(lambda f, e: f.select(e.alias("k")).join(f, left_on="k", right_on="g"), id="in a join's key"),
    ],
)
def test_a_failure_is_explained_wherever_it_happens(engine: str, use: Any) -> None:
    frame = pl.LazyFrame({"s": ["1", "abc", None], "g": [1, 1, 2]})
    (text,) = columns(["s"], [TEXT])
    told = _explained(use(frame, cast(text, BIGINT, place=HERE).expr), engine)
    assert told == ("the value abc is not a valid BIGINT", HERE)


@ENGINES
def test_a_test_of_one_column_may_fail_while_parquet_is_read(engine: str, tmp_path: Path) -> None:
    pl.DataFrame({"n": [1, 2**40, 2**41], "g": [1, 1, 2]}).write_parquet(tmp_path / "t.parquet")
    frame = pl.scan_parquet(tmp_path / "t.parquet")
    (number,) = columns(["n"], [BIGINT])
    wanted = ("the value 1099511627776 does not fit into INTEGER", HERE)
    assert _explained(frame.filter(cast(number, INTEGER, place=HERE).expr > 1).select("g"), engine) == wanted
    n, words = pl.col("n"), "more than a row, such as {}"
    made = failures.fail_where(n, n > 1, words, HERE, n.cast(pl.String))
    assert _explained(frame.filter(made == 1).select("g"), engine) == (words.replace("{}", "1099511627776"), HERE)


@ENGINES
def test_a_failure_with_words_of_its_own(engine: str) -> None:
    frame = pl.LazyFrame({"n": [1, 2, None]})
    n = pl.col("n")
    made = failures.fail_where(n, n > 1, "more than one row, such as {}", HERE, n.cast(pl.String))
    assert _explained(frame.select(made), engine) == ("more than one row, such as 2", HERE)
    assert frame.select(failures.fail_where(n, n > 2, "never")).collect(engine=engine)["n"].to_list() == [1, 2, None]


def test_other_errors_are_not_ours() -> None:
    assert failures.decoded_failure(ValueError("conversion failed")) is None
    with pytest.raises(pl.exceptions.PolarsError) as caught:
        pl.LazyFrame({"s": ["x"]}).select(pl.col("s").cast(pl.Int64)).collect()
    assert failures.decoded_failure(caught.value) is None


def test_an_error_within_another_is_found() -> None:
    (text,) = columns(["s"], [TEXT])
    with pytest.raises(pl.exceptions.PolarsError) as inner:
        pl.LazyFrame({"s": ["abc"]}).select(cast(text, INTEGER, place=HERE).expr).collect()
    outer = RuntimeError("the worker stopped")
    outer.__cause__ = inner.value
    assert failures.decoded_failure(outer) == ("the value abc is not a valid INTEGER", HERE)


@pytest.mark.parametrize("kind", [BIGINT, decimal(5, 1), DOUBLE, BOOLEAN], ids=str)
@pytest.mark.parametrize("name", ["s", "m"])
def test_a_mark_names_no_column_of_the_result(name: str, kind: Type) -> None:
    frame = pl.LazyFrame({"s": ["1"], "m": pl.Series([1], dtype=pl.Decimal(38, 2))})
    (value,) = columns([name], [TEXT if name == "s" else decimal(15, 2)])
    assert frame.select(cast(value, kind, place=HERE).expr.alias("r")).collect().columns == ["r"]
