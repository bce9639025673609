"""The types of a result's columns: what other tables and later jobs have to go on with."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from gpuquery.runner.query.sql import plan
from gpuquery.runner.query.sql.compile import failures
from gpuquery.runner.query.sql.types import decimal
from tests.support import sql

T = pa.table(
    {
        "k": [1, 1, 2],
        "m": pa.array([Decimal("1.10"), None, Decimal("99999.99")], pa.decimal128(7, 2)),
        "i": pa.array([1, 2, 3], pa.int32()),
        "b": pa.array([1, 2, 3], pa.int64()),
    }
)
MONEY = pl.Decimal(7, 2)
WIDE = pl.Decimal(38, 2)


@pytest.mark.parametrize(
    ("statement", "dtype"),
    [
        pytest.param(
            "SELECT m FROM t WHERE k > 0 ORDER BY m LIMIT 2", MONEY, id="a decimal of an input keeps its digits"
        ),
        pytest.param("SELECT max(m) FROM t GROUP BY k", MONEY, id="so does the largest of a group"),
        pytest.param("SELECT m FROM t GROUP BY m", MONEY, id="and a key"),
        pytest.param(
            "WITH c AS (SELECT m FROM t) SELECT a.m FROM c a JOIN c b ON a.m = b.m", MONEY, id="through CTE and join"
        ),
        pytest.param("SELECT lag(m) OVER (ORDER BY k) FROM t", MONEY, id="of another row"),
        pytest.param("SELECT coalesce(m, m) FROM t UNION ALL SELECT m FROM t", MONEY, id="of two sides"),
        pytest.param("SELECT CASE WHEN k = 1 THEN m END FROM t", MONEY, id="of a branch"),
        pytest.param(
            "SELECT CAST(k AS DECIMAL(5, 1)) FROM t", pl.Decimal(5, 1), id="a cast has the digits that it names"
        ),
        pytest.param("SELECT sum(m) FROM t", WIDE, id="a sum has all 38 digits"),
        pytest.param("SELECT m + m FROM t", WIDE, id="and so has what is computed"),
        pytest.param("SELECT sum(i) FROM t", pl.Int64(), id="the sum of 32 bits is a BIGINT"),
        pytest.param(
            "SELECT s FROM (SELECT sum(i) AS s FROM t GROUP BY k) WHERE s > 0", pl.Int64(), id="further up, too"
        ),
        pytest.param("SELECT sum(b) FROM t", pl.Decimal(38, 0), id="the sum of 64 bits has 38 digits"),
        pytest.param("SELECT i FROM t", pl.Int32(), id="a whole number keeps its width"),
    ],
)
def test_a_column_of_the_result_has_the_type(statement: str, dtype: pl.DataType) -> None:
    frame = sql.planned(statement, sql.frames({"t": T}))
    assert frame.collect_schema().dtypes() == [dtype]
    sql.check(statement, {"t": T})


@pytest.mark.parametrize(
    "dtype", [pl.Datetime("ns", "UTC"), pl.Datetime("ns", "Europe/Berlin"), pl.Duration("ns")], ids=str
)
def test_a_part_of_a_microsecond_is_never_cut_off(dtype: pl.DataType) -> None:
    def asked(nanos: int) -> pl.DataFrame:
        frame = pl.LazyFrame({"n": [nanos, None]}, schema={"n": pl.Int64}).select(pl.col("n").cast(dtype).alias("x"))
        return sql.planned("SELECT x FROM t", {"t": frame}).collect(engine="streaming")

    assert asked(1_700_000_000_000_001_000)["x"].to_physical().to_list() == [1_700_000_000_000_001, None]
    with pytest.raises(pl.exceptions.InvalidOperationError) as failed:
        asked(1_700_000_000_000_001_001)
    explained = failures.decoded_failure(failed.value)
    assert explained is not None and 'column "x" has parts of a microsecond' in explained[0]


def test_a_choice_among_values_of_other_types_keeps_the_digits_that_they_have() -> None:
    wide = plan.Column(type=decimal(38, 1), index=0)
    largest = plan.AggregateCall(type=decimal(3, 1), function="max", arguments=(wide,))
    scan = plan.Scan("t", (plan.Field("n", wide.type),))
    statement = plan.Statement(plan.Aggregate(scan, (), (largest,)), ("n",))
    table = pa.table({"n": pa.array([Decimal("12345.6")], pa.decimal128(38, 1))})
    assert sql.rows(statement, {"t": table}) == [(Decimal("12345.6"),)]
