"""Window functions answer as DuckDB's, over every frame, and in the form for GPUs too, or are refused by name."""

from __future__ import annotations

import os
import random
import re

import pyarrow as pa
import pytest

from gpuquery.runner.query.sql.compile import window_rows
from gpuquery.runner.query.sql.compile.failures import decoded_failure
from gpuquery.runner.query.sql.compile.target import CPU, Target
from gpuquery.runner.query.sql.errors import SqlError
from tests.support import sql, sql_windows

SEED = int(os.environ.get("SEED", "1"))
COUNT = int(os.environ.get("COUNT") or 200)
GPU = Target("26.10")
_ON_CPU = r'does not run on GPUs with RAPIDS 26.10: use engine "cpu"'
TABLES = sql_windows.tables(5)


@pytest.mark.parametrize("part", range(10))
def test_every_frame_is_the_right_one(part: int) -> None:
    """Function by frame by partition by order, drawn by chance."""
    made = sql_windows.Windows(SEED * 10 + part)
    calls = [made.call() for _ in range(COUNT // 10)]
    _same(calls, *sql.answers(sql_windows.statement(calls), sql_windows.tables(SEED)))


def _same(calls: list[str], mine: list[sql.Row], theirs: list[sql.Row]) -> None:
    """Fail unless the answers are the same, and name the calls that differ."""
    mine, theirs = (sorted(rows, key=lambda row: row[0]) for rows in (mine, theirs))
    wrong = [
        call
        for at, call in enumerate(calls, start=1)
        if not sql.same([(row[at],) for row in mine], [(row[at],) for row in theirs], ordered=True)
    ]
    assert not wrong


def test_the_form_for_gpus_has_the_same_frames() -> None:
    """Run on the CPU; what GPUs cannot do is refused by name."""
    made = sql_windows.Windows(SEED)
    answered, refusals = 0, []
    for _ in range(COUNT // 4):
        try:
            sql.check(sql_windows.statement([made.call()]), sql_windows.tables(SEED), GPU)
        except SqlError as refused:
            refusals.append(refused.message)
        else:
            answered += 1
    assert all(_ON_CPU in words for words in refusals)
    assert answered


def test_the_order_of_the_rows_below_is_nothing() -> None:
    made = sql_windows.Windows(SEED + 1)
    calls = [made.call() for _ in range(COUNT // 10)]
    table = TABLES["t"]
    order = list(range(table.num_rows))
    random.Random(SEED).shuffle(order)
    statement = sql_windows.statement(calls)
    _same(calls, sql.ours(statement, TABLES), sql.ours(statement, {"t": table.take(pa.array(order))}))


@pytest.mark.parametrize(
    "call",
    [
        "row_number() OVER (ORDER BY i DESC)",
        "row_number() OVER (PARTITION BY g ORDER BY k, i)",
        "rank() OVER (PARTITION BY g ORDER BY k)",
        "rank() OVER (ORDER BY k DESC NULLS FIRST)",
        "rank() OVER (ORDER BY f)",
        "rank() OVER (ORDER BY k, s DESC, n)",
        "rank() OVER ()",
        "dense_rank() OVER (PARTITION BY g ORDER BY k)",
        "dense_rank() OVER (ORDER BY f DESC)",
        "dense_rank() OVER ()",
        "percent_rank() OVER (PARTITION BY g ORDER BY k)",
        "percent_rank() OVER (PARTITION BY i ORDER BY k)",
        "cume_dist() OVER (PARTITION BY h ORDER BY k NULLS FIRST)",
        "cume_dist() OVER ()",
        "ntile(4) OVER (ORDER BY i)",
        "ntile(100) OVER (PARTITION BY g ORDER BY i DESC)",
        "ntile(n + 1) OVER (PARTITION BY g ORDER BY i DESC)",
        "lag(x) OVER (PARTITION BY g ORDER BY k, i)",
        "lag(x, n, n) OVER (PARTITION BY g ORDER BY k, i)",
        "lag(s, 1, 'none') OVER (PARTITION BY g ORDER BY k, i)",
        "lead(s, 1, s) OVER (PARTITION BY g ORDER BY k, i)",
        "lead(d, -2, 0) OVER (ORDER BY i)",
        "lead(d, NULL, 0) OVER (ORDER BY i)",
        "lag(d, nullif(n, 1), 0) OVER (ORDER BY i)",
        "lag(x, 9223372036854775807) OVER (ORDER BY i)",
        "lag(x, 2 IGNORE NULLS) OVER (PARTITION BY g ORDER BY k, i)",
        "lead(x, n IGNORE NULLS) OVER (PARTITION BY g ORDER BY k, i)",
        "lead(x, -1, -7 IGNORE NULLS) OVER (PARTITION BY g ORDER BY k, i)",
        "last_value(x) OVER (PARTITION BY g ORDER BY i ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
        "nth_value(x, 0) OVER (ORDER BY i)",
        "nth_value(x, NULL) OVER (ORDER BY i)",
        "first_value(x ORDER BY i DESC) OVER (PARTITION BY g ORDER BY i)",
        "last_value(x ORDER BY s, i IGNORE NULLS) OVER (PARTITION BY g ORDER BY i)",
        "count(*) OVER ()",
        "sum(x) OVER (PARTITION BY f)",
        "avg(b) OVER (ORDER BY i ROWS 2 PRECEDING)",
        "avg(d) OVER (PARTITION BY g)",
        "avg(ts) OVER (ORDER BY i)",
        "sum(w) OVER (PARTITION BY g ORDER BY i)",
        "sum(u) OVER (ORDER BY i ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)",
        "sum(o::INTEGER) OVER (ORDER BY i)",
        "max(f) OVER (PARTITION BY g)",
        "min(f) OVER (ORDER BY i)",
        "sum(x) OVER (ORDER BY i ROWS BETWEEN 9223372036854775807 PRECEDING AND 9223372036854775807 FOLLOWING)",
        "sum(x) OVER (ORDER BY i ROWS BETWEEN n + 1 PRECEDING AND n * 2 FOLLOWING)",
        "sum(x) OVER (ORDER BY t RANGE BETWEEN INTERVAL 1 YEAR PRECEDING AND CURRENT ROW)",
        "sum(e) OVER (ORDER BY i ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING)",
        "avg(f) OVER (PARTITION BY g ORDER BY i ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)",
        "sum(n) OVER (ORDER BY k RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)",
        "sum(n) OVER (ORDER BY k RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE TIES)",
        "list(DISTINCT n ORDER BY n) OVER (PARTITION BY g ORDER BY k)",
        "string_agg(s, '-' ORDER BY s, i) OVER (ORDER BY i)",
        "stddev(x) OVER (PARTITION BY g ORDER BY i)",
        "corr(x, i) OVER (PARTITION BY h ORDER BY i)",
        "quantile_cont(e, [0.1, 0.5]) OVER (ORDER BY i)",
        "regr_count(x, k) OVER (ORDER BY i ROWS BETWEEN 3 FOLLOWING AND 4 FOLLOWING)",
        "entropy(k) OVER (ORDER BY i ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING)",
        "row_number() OVER (PARTITION BY [g] ORDER BY i)",
        "lag([x, n]) OVER (ORDER BY i)",
    ],
)
@pytest.mark.parametrize("target", [pytest.param(CPU, id="cpu"), pytest.param(GPU, id="gpu")])
def test_a_function_answers_as_duckdb_does(call: str, target: Target) -> None:
    try:
        sql.check(f"SELECT i, {call} AS r FROM t", TABLES, target)
    except SqlError as refused:
        if not target.gpu or _ON_CPU not in refused.message:
            raise


DAYS = {"t": pa.table({"id": [1, 2, 3, 4], "day": [1, 1, 2, None], "v": [10.0, 20.0, 30.0, 40.0]})}


@pytest.mark.parametrize(
    ("call", "want"),
    [
        pytest.param("avg(v) OVER (ORDER BY id)", [10.0, 15.0, 20.0, 25.0], id="an average up to the row"),
        pytest.param("median(v) OVER (ORDER BY id)", [10.0, 15.0, 20.0, 25.0], id="a median up to the row"),
        pytest.param("sum(v) OVER (ORDER BY day)", [30.0, 30.0, 60.0, 100.0], id="peers are in the frame"),
        pytest.param("rank() OVER (ORDER BY day)", [1, 1, 3, 4], id="NULL has a rank, the last one"),
        pytest.param("dense_rank() OVER (ORDER BY day DESC NULLS FIRST)", [3, 3, 2, 1], id="NULL comes first if asked"),
        pytest.param("row_number() OVER (ORDER BY day, id)", [1, 2, 3, 4], id="NULLS LAST is the default"),
        pytest.param("last_value(v) OVER (ORDER BY id)", [10.0, 20.0, 30.0, 40.0], id="the frame ends at the row"),
        pytest.param("count(*) OVER (PARTITION BY day IS NULL)", [3, 3, 3, 1], id="a partition of its own for NULL"),
    ],
)
@pytest.mark.parametrize("target", [pytest.param(CPU, id="cpu"), pytest.param(GPU, id="gpu")])
def test_the_meaning_of_the_standard(call: str, want: list[float], target: Target) -> None:
    """PostgreSQL's documentation, 3.5 and 9.22: a frame that is not written ends with the row's last peer."""
    if target.gpu and call.startswith("median"):
        with pytest.raises(SqlError, match=_ON_CPU):
            sql.ours(f"SELECT id, {call} FROM t", DAYS, target)
        return
    assert [row[1] for row in sorted(sql.ours(f"SELECT id, {call} FROM t", DAYS, target))] == want


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT g, sum(sum(x)) OVER (ORDER BY g) AS r FROM t GROUP BY g",
        "SELECT g, sum(x) * 100.0 / sum(sum(x)) OVER () AS r FROM t GROUP BY g",
        "SELECT i FROM t QUALIFY row_number() OVER (PARTITION BY g ORDER BY k DESC, i) = 1",
        "SELECT i, sum(n) OVER w AS a, rank() OVER w AS b, lag(n) OVER (ORDER BY i) FROM t WINDOW w AS (ORDER BY k)",
        "SELECT i, sum(x) OVER (ORDER BY i) AS r FROM t WHERE false",
    ],
)
def test_windows_stand_where_sql_has_them(statement: str) -> None:
    sql.check(statement, TABLES)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        pytest.param("sum(x) OVER (ORDER BY i ROWS BETWEEN n - 2 PRECEDING AND CURRENT ROW)", "found -", id="rows"),
        pytest.param("sum(x) OVER (ORDER BY k GROUPS BETWEEN n - 2 PRECEDING AND CURRENT ROW)", "found -", id="groups"),
        pytest.param("sum(x) OVER (ORDER BY i RANGE BETWEEN n - 2 PRECEDING AND CURRENT ROW)", "found -", id="range"),
        pytest.param(
            "sum(x) OVER (ORDER BY i ROWS BETWEEN nullif(n, 1) PRECEDING AND CURRENT ROW)", "NULL", id="unknown"
        ),
        pytest.param("ntile(n) OVER (ORDER BY i)", "ntile needs a positive number; it is 0", id="no parts"),
        pytest.param("sum(w) OVER (ORDER BY 1)", "38 digits", id="a sum that needs more digits"),
        pytest.param("median(x) OVER (ORDER BY i)", "has to see", id="frames of too many rows"),
    ],
)
def test_what_cannot_be_fails_in_words(call: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    statement = f"SELECT i, {call} AS r FROM t"
    big = {"t": pa.concat_tables([TABLES["t"]] * 200)} if "38" in words or "see" in words else TABLES
    monkeypatch.setattr(window_rows, "MAX_FRAME_ROWS", 1_000)
    with pytest.raises(Exception) as failed:  # noqa: PT011 - Polars' errors are of many classes
        sql.ours(statement, big)
    told = decoded_failure(failed.value)
    assert told is not None
    assert words in told[0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        pytest.param("rank(ORDER BY x) OVER (ORDER BY k)", "ORDER BY within rank", id="an order within a rank"),
        pytest.param("rank() OVER (ORDER BY [k])", "ORDER BY INTEGER[]", id="an order of lists"),
        pytest.param("max([x]) OVER (ORDER BY i)", "max of INTEGER[]", id="the greatest list"),
        pytest.param(
            "sum(x) OVER (ORDER BY ts RANGE BETWEEN INTERVAL '-1 day' PRECEDING AND CURRENT ROW)",
            "must not be negative",
            id="a distance back",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(call: str, words: str) -> None:
    with pytest.raises(SqlError, match=re.escape(words)):
        sql.ours(f"SELECT i, {call} AS r FROM t", TABLES)


@pytest.mark.parametrize(
    "call",
    ["max(x) OVER (ORDER BY i)", "median(x) OVER ()", "lag(x IGNORE NULLS) OVER (ORDER BY i)", "list(x) OVER ()"],
)
def test_what_gpus_cannot_do_is_refused_with_the_way_out(call: str) -> None:
    with pytest.raises(SqlError, match=_ON_CPU):
        sql.ours(f"SELECT i, {call} AS r FROM t", TABLES, GPU)
