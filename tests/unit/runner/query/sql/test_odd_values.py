"""Values that engines are known to change without a word, in parquet files that pyarrow wrote, against DuckDB."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tests.support import sql_verdict
from tests.support.sql_verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sql_verdict import Engines

_NAN = float("nan")
TABLES = {
    "t": pa.table({
        "id": pa.array([1, 2, 3, 4], pa.int32()),
        "g": pa.array(["a", "b", "a", None]),
        "ok": pa.array([True, False, None, True]),
        "x": pa.array([-0.0, 1.5, _NAN, None], pa.float64()),
        "money": pa.array([Decimal("10.50"), Decimal("2.00"), None, Decimal("-1.25")], pa.decimal128(10, 2)),
        "day": pa.array([dt.date(2024, 2, 29), dt.date(2023, 12, 31), None, dt.date(1969, 12, 31)]),
        "nanos": pa.array([1_700_000_000_123_456_789, 1_000_000_500, None, -1_001], pa.timestamp("ns")),
        "wide": pa.array([Decimal("9" * 38), Decimal("1234567890123456789012345678901234567"), None, Decimal(-1)]),
        "l": pa.array([[1, None], [], None, [3]], pa.list_(pa.int32())),
        "s": pa.array(["2023-11-14 22:13:20.123456789", "x", None, "9999-12-31"]),
    }),
}  # fmt: skip


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    with sql_verdict.over(TABLES) as made:
        yield made


NANOSECONDS = [
    pytest.param("SELECT CAST(nanos AS VARCHAR) FROM t", id="as text they have nine digits"),
    pytest.param("SELECT epoch_ns(nanos), nanosecond(nanos) FROM t", id="as numbers they are whole"),
    pytest.param("SELECT epoch_ns(nanos + INTERVAL 1 SECOND) FROM t", id="a length of time keeps them"),
    pytest.param("SELECT epoch_ns(nanos - INTERVAL '1 month 1 day') FROM t", id="months keep them"),
    pytest.param("SELECT epoch_ns(nanos + INTERVAL (id) HOUR) FROM t", id="so does one of each row"),
    pytest.param("SELECT epoch_ns(nanos + to_months(id)) FROM t", id="and months of each row"),
    pytest.param("SELECT nanos + INTERVAL 500 YEAR FROM t", id="there are none after the year 2262"),
    pytest.param("SELECT CAST(nanos AS DATE), CAST(nanos AS TIME) FROM t", id="days and times are rounded, not cut"),
    pytest.param("SELECT CAST(TRY_CAST(s AS TIMESTAMP_NS) AS VARCHAR) FROM t", id="text is read with all nine digits"),
    pytest.param("SELECT id FROM t WHERE nanos = '2023-11-14 22:13:20.123456789'", id="so is a constant"),
]
NUMBERS = [
    pytest.param("SELECT CAST(CAST('nan' AS DOUBLE) AS INTEGER)", id="NaN is no whole number, as a constant neither"),
    pytest.param(
        "SELECT percentile_disc(0) WITHIN GROUP (ORDER BY id DESC), percentile_disc(1) WITHIN GROUP (ORDER BY id DESC),"
        " percentile_disc([0.0, 0.3]) WITHIN GROUP (ORDER BY id DESC) FROM t",
        id="the percentile 0 in descending order is the greatest value",
    ),
    pytest.param(
        "SELECT percentile_cont([0.25, 0.5]) WITHIN GROUP (ORDER BY money DESC) FROM t",
        id="several percentiles in descending order",
    ),
    pytest.param("SELECT id FROM t WHERE ok = 1 OR ok <> 1.0", id="a flag beside a number is 0 or 1"),
    pytest.param("SELECT id, CASE ok WHEN 2 THEN 'two' WHEN 0 THEN 'no' END FROM t", id="and never 2"),
]
ZEROS = [
    pytest.param("SELECT 1 / x, g FROM (SELECT DISTINCT x, g FROM t) AS q", id="-0.0 stays in DISTINCT"),
    pytest.param("SELECT 1 / x, g FROM (SELECT x, g FROM t UNION SELECT x, g FROM t) AS q", id="and in UNION"),
    pytest.param("SELECT 1 / x, g FROM (SELECT x, g FROM t EXCEPT SELECT 1.0, 'a') AS q", id="and in EXCEPT"),
    pytest.param("SELECT 1 / x, n FROM (SELECT x, g, count(*) AS n FROM t GROUP BY x, g) AS q", id="and in GROUP BY"),
    pytest.param("SELECT 1 / x, n FROM (SELECT x, count(*) AS n FROM t GROUP BY ROLLUP (x, g)) AS q", id="and ROLLUP"),
    pytest.param(
        "SELECT o.id, (SELECT min(i.id / o.x) FROM t AS i WHERE i.id > o.id) FROM t AS o",
        id="and as the value of the row outside of a sub-query",
    ),
    pytest.param(
        "SELECT o.id, 1 / q.x FROM t AS o LEFT JOIN LATERAL (SELECT o.x FROM t AS i WHERE i.id > o.id) AS q ON TRUE",
        id="and in LATERAL",
    ),
]
INFINITIES = [
    pytest.param(f"SELECT max({x}), min(-{x}) FROM (VALUES (1, '-inf'::{kind})) AS v(g, x) {group}", id=name)
    for x, kind, group, name in (
        ("x", "DOUBLE", "", "the greatest of nothing but -inf is -inf"),
        ("x", "DOUBLE", "GROUP BY g", "in a group"),
        ("x", "REAL", "GROUP BY ROLLUP (g)", "as a REAL"),
    )
]
_LONG = "1234567890123456789012345678901234.12"
DIGITS = [
    pytest.param(f"SELECT {_LONG}, -{_LONG}, {_LONG} + 1, abs(-{_LONG})", id="a constant has up to 38 digits"),
    pytest.param(f"SELECT '{_LONG}'::DECIMAL(38, 2), '{'9' * 38}'::DECIMAL(38, 0), {'9' * 38}", id="in quotes, too"),
    pytest.param(f"SELECT x + 0.001, x % 7 FROM (VALUES ({_LONG}::DECIMAL(38, 2))) AS v(x)", id="and in a row"),
    pytest.param(f"SELECT id FROM t WHERE wide >= {'9' * 38}", id="a comparison sees all digits"),
    pytest.param("SELECT id FROM t WHERE wide IN (1234567890123456789012345678901234568, 1)", id="down to the last"),
]
ROWS = [
    pytest.param("SELECT count(DISTINCT (g, ok)), count(DISTINCT (x, day)) FROM t", id="different rows are counted"),
    pytest.param("SELECT g, count(DISTINCT (ok, NULL)), count((g, ok)) FROM t GROUP BY g", id="also those of NULLs"),
]
_WORDS = (
    *("t", "TRUE", "y", "Yes", "1", "f", "False", "N", "no", "0"),
    *("on", "off", "of", "o", "tr", "tru", " t", " true ", "1.0", "2", "", "ja"),
)
FLAGS = [
    pytest.param(
        "SELECT w, TRY_CAST(w AS BOOLEAN) FROM (VALUES ('" + "'), ('".join(_WORDS) + "')) AS v(w)",
        id="words of a flag",
    ),
    pytest.param(
        "SELECT " + ", ".join(f"TRY_CAST('{word}' AS BOOLEAN) AS w{at}" for at, word in enumerate(_WORDS)),
        id="and as constants the same",
    ),
]
PIVOTS = [
    pytest.param(f"PIVOT (SELECT g, {column} FROM t) ON {column} IN ({values}) USING count(*)", id=f"PIVOT on {kind}")
    for column, values, kind in (
        ("id", "1, 2", "whole numbers"),
        ("ok", "true, false", "a flag"),
        ("day", "DATE '2024-02-29'", "a day"),
    )
]


ARROWS = [
    pytest.param(f"SELECT {text} AS r FROM t", f"SELECT {theirs} AS r FROM t", id=name)
    for text, theirs, name in (
        ("list_transform(l, e -> e + id)", "list_transform(l, lambda e: e + id)", "a lambda with an arrow"),
        ("list_transform(l, (e, i)->i)", "list_transform(l, lambda e, i: i)", "of two parameters"),
        (
            "list_transform([l], a -> list_filter(a, e -> e > len(a)))",
            "list_transform([l], lambda a: list_filter(a, lambda e: e > len(a)))",
            "within another one",
        ),
    )
]
_TIES = "SELECT g FROM t ORDER BY g FETCH FIRST {} WITH TIES"
_RANK = "SELECT g FROM t QUALIFY rank() OVER (ORDER BY g) <= {}"
TIES = [
    pytest.param(f"SELECT * FROM ({_TIES.format('1 ROWS')}) AS q", _RANK.format(1), id="WITH TIES in a sub-query"),
    pytest.param(
        f"SELECT id FROM t WHERE g IN ({_TIES.format('1 ROWS')})",
        f"SELECT id FROM t WHERE g IN ({_RANK.format(1)})",
        id="in IN",
    ),
    pytest.param(
        f"WITH a AS ({_TIES.format('ROW')}), b AS ({_TIES.format('3 ROWS')}) SELECT a.g, b.g AS h FROM a, b",
        f"WITH a AS ({_RANK.format(1)}), b AS ({_RANK.format(3)}) SELECT a.g, b.g AS h FROM a, b",
        id="twice, and without a number",
    ),
]


@pytest.mark.parametrize(("text", "theirs"), [*ARROWS, *TIES])
def test_what_duckdb_does_not_read_means_what_it_says_in_other_words(engines: Engines, text: str, theirs: str) -> None:
    found = engines.verdict(text, theirs=theirs)
    assert found.outcome is Outcome.EQUAL, f"{text}: {found.outcome}: {found.detail}"


@pytest.mark.parametrize("text", [*NANOSECONDS, *NUMBERS, *ZEROS, *INFINITIES, *DIGITS, *ROWS, *FLAGS, *PIVOTS])
def test_a_value_is_what_duckdb_says(engines: Engines, text: str) -> None:
    found = engines.verdict(text)
    assert found.outcome in (Outcome.EQUAL, Outcome.BOTH_FAIL), f"{text}: {found.outcome}: {found.detail}"
