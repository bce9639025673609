"""What SQL means where engines are known to get it wrong: by PostgreSQL's documentation, with the rows written out."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query.sql.compile import failures
from tests.support import sql, sql_verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sql_verdict import Engines

TABLES = {
    "meter": pa.table({
        "id": pa.array([1, 2, 3, 4, 5], pa.int64()),
        "room": pa.array(["hall", "hall", "attic", None, "attic"]),
        "day": pa.array([1, 1, 2, None, 3], pa.int64()),
        "kwh": pa.array([10, 20, 30, 40, None], pa.int32()),
        "ok": pa.array([True, False, None, True, None]),
    }),
    "room": pa.table({
        "room": pa.array(["hall", "attic", "cellar"]),
        "floor": pa.array([0, 2, -1], pa.int32()),
        "id": pa.array([100, 200, 300], pa.int64()),
    }),
    "price": pa.table({
        "room": pa.array(["hall", "attic", "attic"]),
        "since": pa.array([1, 1, 2], pa.int64()),
        "cents": pa.array([Decimal("5.00"), Decimal("7.00"), Decimal("8.50")], pa.decimal128(9, 2)),
    }),
    "wide": pa.table({
        "g": pa.array(["a", "a", "b"]),
        "i": pa.array([2_000_000_000, 2_000_000_000, 5], pa.int32()),
        "u": pa.array([4_000_000_000, 4_000_000_000, 5], pa.uint32()),
        "big": pa.array([9_000_000_000_000_000_000, 9_000_000_000_000_000_000, 1], pa.int64()),
        "small": pa.array([1, 2, 3], pa.uint8()),
    }),
    "number": pa.table({
        "n": pa.array([-7, 7], pa.int64()),
        "f": pa.array([2.7, -2.7], pa.float64()),
        "m": pa.array([Decimal("2.50"), Decimal("-2.50")], pa.decimal128(10, 2)),
        "p": pa.array([Decimal("2.345"), Decimal("-2.345")], pa.decimal128(10, 3)),
        "at_": pa.array(["2024-01-31 10:00:00", "2024-02-01 11:30:00.5"]),
    }),
}  # fmt: skip


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    with sql_verdict.over(TABLES) as made:
        yield made


SUMS = [
    pytest.param("SELECT sum(i) FROM wide", [(4_000_000_005,)], id="a sum of 32-bit numbers is wider than they are"),
    pytest.param("SELECT g, sum(i) FROM wide GROUP BY g", [("a", 4_000_000_000), ("b", 5)], id="so is that of a group"),
    pytest.param("SELECT sum(u) FROM wide", [(8_000_000_005,)], id="and that of unsigned ones"),
    pytest.param("SELECT sum(big) FROM wide", [(18_000_000_000_000_000_001,)], id="a sum of 64-bit numbers too"),
    pytest.param("SELECT sum(kwh) FROM meter WHERE id > 9", [(None,)], id="the sum of nothing is NULL"),
    pytest.param("SELECT count(kwh), count(*) FROM meter", [(4, 5)], id="count leaves NULLs out, count(*) does not"),
    pytest.param(
        "SELECT ok, count(*) FILTER (WHERE TRUE), count(*) FILTER (WHERE FALSE) FROM meter GROUP BY CUBE (ok)",
        [(True, 2, 0), (False, 1, 0), (None, 2, 0), (None, 5, 0)],
        id="a FILTER that is TRUE counts every row of a group",
    ),
    pytest.param(
        "SELECT id, (7 // 2 IN (3, 4)) = ok FROM meter WHERE id < 4",
        [(1, True), (2, False), (3, None)],
        id="a constant in a list is TRUE beside every row",
    ),
    pytest.param(
        "SELECT sum(kwh) FILTER (WHERE NULL), count(*) FILTER (WHERE 1 = 1) FROM meter",
        [(None, 5)],
        id="one that is NULL counts none",
    ),
    pytest.param(
        "SELECT room, sum(kwh) FROM meter WHERE kwh IS NULL GROUP BY room",
        [("attic", None)],
        id="the sum of NULLs is NULL",
    ),
    pytest.param(
        "SELECT id, var_pop(CAST(NULL AS INTEGER)), var_pop(kwh) FROM meter WHERE id = 1 GROUP BY id",
        [(1, None, 0.0)],
        id="the variance of NULLs is NULL, that of one value 0",
    ),
]
NAMES = [
    pytest.param(
        "WITH meter AS (SELECT * FROM meter WHERE id < 3) SELECT id FROM meter",
        [(1,), (2,)],
        id="a CTE hides the input of its name",
    ),
    pytest.param(
        "WITH q AS (SELECT id FROM meter WHERE id = 1) SELECT id FROM"
        " (WITH q AS (SELECT id FROM meter WHERE id = 4) SELECT id FROM q) AS x",
        [(4,)],
        id="the inner CTE hides the outer one",
    ),
    pytest.param(
        "SELECT meter.floor FROM room AS meter WHERE meter.id = 300",
        [(-1,)],
        id="an alias may be the name of another input",
    ),
    pytest.param("SELECT kwh + 1 AS id FROM meter WHERE id = 1", [(11,)], id="WHERE sees columns, not aliases"),
    pytest.param('SELECT "ID", Room FROM METER WHERE Id = 1', [(1, "hall")], id="names have no case"),
    pytest.param(
        "SELECT room, 'x', count(*) FROM room GROUP BY room ORDER BY 1 LIMIT 1",
        [("attic", "x", 1)],
        id="a constant needs no name",
    ),
]
JOINS = [
    pytest.param(
        "SELECT m.id, r.id FROM meter m LEFT JOIN room r ON m.room = r.room AND r.id = 100",
        [(1, 100), (2, 100), (3, None), (4, None), (5, None)],
        id="a constant in ON is compared with the side that it names",
    ),
    pytest.param(
        "SELECT m.id FROM meter m ANTI JOIN room r ON m.room = r.room AND r.id = 100",
        [(3,), (4,), (5,)],
        id="in an anti join too",
    ),
    pytest.param(
        "SELECT m.id, r.floor FROM meter m LEFT JOIN room r ON m.room = r.room AND m.ok",
        [(1, 0), (2, None), (3, None), (4, None), (5, None)],
        id="a boolean column is a condition of ON",
    ),
    pytest.param(
        "SELECT room, m.id, floor FROM meter m FULL JOIN room r USING (room) WHERE m.id IS NULL OR m.id > 3",
        [("cellar", None, -1), (None, 4, None), ("attic", 5, 2)],
        id="FULL JOIN USING takes the key of the side that has one",
    ),
    pytest.param(
        "SELECT room, count(m.id) FROM meter m RIGHT JOIN room r USING (room) GROUP BY room",
        [("hall", 2), ("attic", 2), ("cellar", 0)],
        id="RIGHT JOIN USING takes the right side's key",
    ),
    pytest.param(
        "SELECT id FROM meter WHERE room NOT IN (SELECT room FROM meter)",
        [],
        id="NOT IN a list with a NULL is never true",
    ),
    pytest.param("SELECT id FROM meter WHERE room IN ('attic', NULL)", [(3,), (5,)], id="IN such a list may be"),
]
WINDOWS = [
    pytest.param(
        "SELECT id, avg(kwh) OVER (ORDER BY id) FROM meter WHERE id < 4",
        [(1, 10.0), (2, 15.0), (3, 20.0)],
        id="an average with ORDER BY runs",
    ),
    pytest.param(
        "SELECT id, sum(kwh) OVER (ORDER BY day) FROM meter WHERE day < 3",
        [(1, 30), (2, 30), (3, 60)],
        id="peers are in each other's frame",
    ),
    pytest.param(
        "SELECT id, row_number() OVER (ORDER BY day NULLS LAST, id) FROM meter",
        [(1, 1), (2, 2), (3, 3), (5, 4), (4, 5)],
        id="a NULL is last where that is said",
    ),
    pytest.param(
        "SELECT id, rank() OVER (ORDER BY day) FROM meter",
        [(1, 1), (2, 1), (3, 3), (5, 4), (4, 5)],
        id="and by itself, and has a rank",
    ),
    pytest.param(
        "SELECT id, last_value(kwh) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"
        " FROM meter WHERE id < 3",
        [(1, 20), (2, 20)],
        id="the last of the whole frame",
    ),
    pytest.param(
        "SELECT room, sum(kwh), sum(sum(kwh)) OVER () FROM meter WHERE id < 4 GROUP BY room",
        [("hall", 30, 60), ("attic", 30, 60)],
        id="a window over groups sees all of them",
    ),
    pytest.param(
        "SELECT room, count(*) * 100.0 / sum(count(*)) OVER () FROM meter WHERE id < 4 AND kwh < 25 GROUP BY room",
        [("hall", 100.0)],
        id="a share is of the whole",
    ),
    pytest.param(
        "SELECT id, max(kwh) OVER (ORDER BY id ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) FROM meter WHERE id < 3",
        [(1, 20), (2, None)],
        id="an empty frame has no maximum",
    ),
]
TRUTH = [
    pytest.param("SELECT id FROM meter WHERE ok IS NOT TRUE", [(2,), (3,), (5,)], id="unknown is not true"),
    pytest.param("SELECT id FROM meter WHERE ok IS NOT FALSE", [(1,), (3,), (4,), (5,)], id="nor is it false"),
    pytest.param(
        "SELECT id FROM meter WHERE (id > 1 AND ok) IS NOT TRUE",
        [(1,), (2,), (3,), (5,)],
        id="of an expression as well",
    ),
    pytest.param("SELECT id FROM meter WHERE NOT (day = 1)", [(3,), (5,)], id="NOT of unknown is unknown"),
    pytest.param(
        "SELECT id FROM meter WHERE day IS DISTINCT FROM 1", [(3,), (4,), (5,)], id="IS DISTINCT FROM knows NULL"
    ),
    pytest.param(
        "SELECT room, count(*) FROM meter GROUP BY room HAVING room > 'b'",
        [("hall", 2)],
        id="HAVING may ask for the key",
    ),
    pytest.param(
        "SELECT room, count(*) FROM meter GROUP BY room HAVING room IS NOT NULL",
        [("hall", 2), ("attic", 2)],
        id="and for a NULL of it",
    ),
]
NUMBERS = [
    pytest.param("SELECT n % 3 FROM number", [(-1,), (1,)], id="the rest has the sign of the dividend"),
    pytest.param("SELECT n // 2 FROM number", [(-3,), (3,)], id="// cuts towards zero"),
    pytest.param("SELECT CAST(f AS INTEGER) FROM number", [(3,), (-3,)], id="a cast to a whole number rounds"),
    pytest.param("SELECT CAST(m AS INTEGER) FROM number", [(3,), (-3,)], id="halves of decimals away from zero"),
    pytest.param("SELECT round(p, 2) FROM number", [(Decimal("2.35"),), (Decimal("-2.35"),)], id="so does round()"),
    pytest.param(
        "SELECT m * p FROM number",
        [(Decimal("5.86250"),), (Decimal("5.86250"),)],
        id="a product has the places of both",
    ),
    pytest.param("SELECT 0.1 + 0.2 = 0.3", [(True,)], id="0.1 is a decimal"),
    pytest.param("SELECT log(10, 1000)", [(3.0,)], id="log() has the base first"),
    pytest.param(
        "SELECT n FROM number WHERE n < 1e1 AND n > '0'", [(7,)], id="exponents and quoted numbers are numbers"
    ),
    pytest.param(
        "SELECT CAST(at_ AS TIMESTAMP) FROM number",
        [(dt.datetime(2024, 1, 31, 10),), (dt.datetime(2024, 2, 1, 11, 30, 0, 500_000),)],
        id="a timestamp has a blank between day and time",
    ),
    pytest.param(
        "SELECT DATE '2024-01-31' + INTERVAL 1 MONTH",
        [(dt.datetime(2024, 2, 29),)],
        id="a month after the end of January is the end of February",
    ),
]
GUARDS = [
    pytest.param(
        "SELECT id, CASE WHEN room = '7' THEN CAST(room AS INTEGER) END FROM meter",
        [(1, None), (2, None), (3, None), (4, None), (5, None)],
        id="CASE computes a branch for its own rows only",
    ),
    pytest.param(
        "SELECT n FROM number WHERE n <> 7 AND 100 // (n - 7) < 0",
        [(-7,)],
        id="AND stops at the first half that is false",
    ),
    pytest.param(
        "SELECT n FROM (SELECT n FROM number WHERE n <> 7) AS x WHERE 100 // (n - 7) < 0",
        [(-7,)],
        id="a condition sees only the rows that an inner one has left",
    ),
    pytest.param(
        "SELECT coalesce(room, CAST(id // 0 AS VARCHAR)) FROM room WHERE id = 100",
        [("hall",)],
        id="coalesce stops at the first value",
    ),
]
QUERIES = [
    pytest.param(
        "SELECT room, (SELECT cents FROM price p WHERE p.room = r.room ORDER BY since DESC LIMIT 1) FROM room r",
        [("hall", Decimal("5.00")), ("attic", Decimal("8.50")), ("cellar", None)],
        id="the latest of each",
    ),
    pytest.param(
        "SELECT room, (SELECT min(cents) FROM price WHERE room = r.room) FROM room r",
        [("hall", Decimal("5.00")), ("attic", Decimal("7.00")), ("cellar", None)],
        id="a name belongs to the inner table first",
    ),
    pytest.param(
        "SELECT id FROM room r WHERE 5 = (SELECT cents FROM price p WHERE p.room = r.room AND since = 1)",
        [(100,)],
        id="a sub-query of one row in WHERE",
    ),
    pytest.param(
        "SELECT room, (SELECT count(*) FROM price p WHERE p.room = r.room) FROM room r",
        [("hall", 1), ("attic", 2), ("cellar", 0)],
        id="a count of nothing is 0 for each row",
    ),
    pytest.param(
        "SELECT room FROM meter GROUP BY room ORDER BY max(kwh) DESC NULLS LAST LIMIT 1",
        [(None,)],
        id="an order by what is not selected",
    ),
    pytest.param(
        "SELECT DISTINCT ON (room) room, id FROM meter WHERE room <> '' ORDER BY room, kwh DESC NULLS LAST",
        [("attic", 3), ("hall", 2)],
        id="DISTINCT ON takes the first of the order",
    ),
    pytest.param(
        "SELECT day FROM meter EXCEPT ALL SELECT since FROM price",
        [(3,), (None,)],
        id="EXCEPT ALL takes each row away once",
    ),
    pytest.param(
        "SELECT room, day, count(*) FROM meter WHERE id < 3 GROUP BY ROLLUP (room, day)",
        [("hall", 1, 2), ("hall", None, 2), (None, None, 2)],
        id="ROLLUP adds the totals",
    ),
]


@pytest.mark.parametrize(("text", "wanted"), [*SUMS, *NAMES, *JOINS, *WINDOWS, *TRUTH, *NUMBERS, *GUARDS, *QUERIES])
def test_a_statement_means(engines: Engines, text: str, wanted: list[tuple[Any, ...]]) -> None:
    found = engines.ours(text).rows
    assert sql.same(found, wanted), f"{text}\n{found}\n{wanted}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("SELECT i * 2 FROM wide", "overflow", id="a product that does not fit its type"),
        pytest.param("SELECT small - 3 FROM wide", "overflow", id="a difference below zero of unsigned numbers"),
        pytest.param("SELECT big + big FROM wide", "overflow", id="a sum beyond 64 bits"),
        pytest.param("SELECT n // 0 FROM number", "zero", id="a division by zero"),
        pytest.param("SELECT CAST(room AS INTEGER) FROM room", "cellar", id="a text that is no number"),
        pytest.param("SELECT repeat(room, id * 100000000000) FROM room", "more than 1 GB", id="a text without end"),
        pytest.param(
            "SELECT rpad(room, CAST(id * 6000000 AS INTEGER), room) FROM room", "more than 1 GB", id="a text filled up"
        ),
        pytest.param("SELECT range(id * 10000000000) FROM room", "more than 134217728", id="a list without end"),
        pytest.param("SELECT count(*) FROM range(10000000000)", "more than 134217728", id="rows"),
        pytest.param("SELECT list_resize([id], id * 10000000000) FROM room", "more than 134217728",
                     id="a list filled up"),
        pytest.param("SELECT (SELECT cents FROM price p WHERE p.room = r.room) FROM room r", "one row",
                     id="a sub-query that has two rows where one is asked for"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_fails_and_says_so(engines: Engines, text: str, words: str) -> None:
    with pytest.raises(Exception) as error:  # noqa: PT011 (Polars raises it, of several classes)
        engines.ours(text)
    told = failures.decoded_failure(error.value)
    assert told is not None, repr(error.value)[:300]
    assert words in told[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("SELECT kwhs FROM meter", ["line 1, column 8", "kwhs", "kwh"], id="a column that is not there"),
        pytest.param("SELECT id\nFROM metre", ["line 2, column 6", "metre", "meter"], id="an input that is not there"),
        pytest.param("SELECT id FROM meter, room", ["line 1, column 8", "id"], id="a name that two tables have"),
        pytest.param("SELECT room, id FROM meter GROUP BY room", ["line 1", "id", "GROUP BY"], id="a column, no key"),
        pytest.param("DROP TABLE meter", ["SELECT"], id="what is no query"),
    ],
)  # fmt: skip
def test_a_statement_is_refused_with_place_and_names(engines: Engines, text: str, words: list[str]) -> None:
    with pytest.raises(JobError) as error:
        engines.ours(text)
    assert all(word in str(error.value) for word in words), str(error.value)
