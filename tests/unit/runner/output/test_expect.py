"""`output.expect`: what is judged, what is refused before the query runs, and that nothing is published else."""

from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.choices import Dialect
from gpuquery.api.reasons import Failure
from gpuquery.api.status import MAX_EXPECTATIONS_SHOWN
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import expect_sql, kept, scratch
from gpuquery.runner.output.expect import Expectations
from tests.support import sinks
from tests.support.rank_threads import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gpuquery.api.status import OutputStatus
    from gpuquery.plan.plan import Plan
    from gpuquery.runner.output.sink import Sink

FRAME = pl.DataFrame(
    {"id": [1, 2, 2, None], "k": ["a", "b", "b", "b"], "amount": [1.5, -2.0, 3.0, 4.0], "l": [[1], None, [2], [3]]}
)


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(scratch, "root", lambda: tmp_path / "scratch")
    yield
    assert list((tmp_path / "scratch").iterdir()) == [], "the copies are gone"


def plan(folder: Path, *expect: dict[str, Any], **output: Any) -> Plan:
    made = sinks.plan(f"file://{folder}/out", expect=list(expect), **output)
    return made.model_copy(update={"now": datetime(2026, 1, 1, tzinfo=UTC)})


def judged(folder: Path, *expect: dict[str, Any], frame: pl.DataFrame = FRAME, **output: Any) -> OutputStatus:
    return sinks.run(plan(folder, *expect, **output), frame.lazy())


def refused(folder: Path, *expect: dict[str, Any], **how: Any) -> JobError:
    """What a result is refused with, of which nothing is there afterwards."""
    with pytest.raises(JobError) as caught:
        judged(folder, *expect, **how)
    assert list((folder / "out").rglob("*.parquet")) == []
    assert list((folder / "out").rglob("*.json")) == []
    assert leftovers(folder) == []
    return caught.value


HOLDS: list[Any] = [
    pytest.param({"rows": ">= 4"}, id="rows, just enough"),
    pytest.param({"rows": "<=4"}, id="rows, just few enough, without a blank"),
    pytest.param({"rows": "== 4"}, id="rows, just so many"),
    pytest.param({"unique": ["amount"]}, id="unique"),
    pytest.param({"unique": ["id", "amount"]}, id="unique together"),
    pytest.param({"notNull": ["k", "amount"]}, id="not null"),
    pytest.param({"sql": "SELECT count(*) = 1 FROM result WHERE amount < 0"}, id="a count"),
    pytest.param({"sql": "SELECT count(*) = 4 FROM RESULT"}, id="a count that reads no column"),
    pytest.param({"sql": "SELECT min(amount) = -2 AND max(k) = 'b' FROM result"}, id="aggregates"),
    pytest.param({"sql": "SELECT (SELECT count(*) FROM result) > (SELECT count(DISTINCT k) FROM result)"}, id="two"),
    pytest.param(
        {"sql": "SELECT count(*) = 1 FROM (SELECT k FROM result GROUP BY k HAVING count(*) > 1)"}, id="groups"
    ),
    pytest.param({"sql": "SELECT NOT EXISTS (SELECT 1 FROM result WHERE amount > 4)"}, id="exists"),
    pytest.param({"sql": "SELECT count(*) = 2 FROM (SELECT DISTINCT * FROM (SELECT k FROM result))"}, id="a star"),
]

FAILS: list[Any] = [
    pytest.param({"rows": "> 4"}, "(rows > 4): the result has 4 rows", id="too few rows"),
    pytest.param({"unique": ["id"]}, "1 key is there more than once, in 2 of 4 rows; id = 2 in 2", id="a number twice"),
    pytest.param({"unique": ["k"]}, "k = 'b' in 3 of them", id="a text three times"),
    pytest.param({"unique": ["k", "id"]}, "k = 'b', id = 2 in 2", id="two columns"),
    pytest.param({"notNull": ["k", "id"]}, "id is null in 1 of 4 rows", id="a null"),
    pytest.param({"notNull": ["l"]}, "l is null in 1 of 4 rows", id="a list that is null"),
    pytest.param({"sql": "SELECT count(*) = 0 FROM result WHERE amount < 0"}, "returned false: 1 = 0", id="a count"),
    pytest.param({"sql": "SELECT bool_and(amount > 0) FROM result"}, "it returned false", id="a boolean"),
    pytest.param({"sql": "SELECT max(id) > 1 FROM result WHERE id > 9"}, "returned NULL: NULL > 1", id="no value"),
    pytest.param(
        {"sql": "SELECT min(CAST(k AS INTEGER)) > 0 FROM result"}, "it failed: line 1, column 12", id="a failed cast"
    ),
]


@pytest.mark.parametrize("by", [[], ["k"], ["id"]], ids=["in one folder", "by text", "by number"])
@pytest.mark.parametrize("expectation", HOLDS)
def test_a_result_that_is_as_expected_is_published(tmp_path: Path, expectation: dict[str, Any], by: list[str]) -> None:
    status = judged(tmp_path, expectation, partitionBy=by)
    assert status.rows == 4 and status.expectations.startswith("1 hold: ")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("by", [[], ["k"], ["id"]], ids=["in one folder", "by text", "by number"])
@pytest.mark.parametrize(("expectation", "told"), FAILS)
def test_a_result_that_is_not_as_expected_is_not_published(
    tmp_path: Path, expectation: dict[str, Any], told: str, by: list[str]
) -> None:
    error = refused(tmp_path, expectation, partitionBy=by)
    assert error.failure is Failure.EXPECTATION_FAILED
    assert told in error.message and "output.expect[0]" in error.message


def test_all_that_does_not_hold_is_told_and_what_holds_is_not(tmp_path: Path) -> None:
    error = refused(
        tmp_path, {"rows": ">= 9"}, {"notNull": ["k"]}, {"unique": ["k"]}, {"sql": "SELECT count(*) = 0 FROM result"}
    )
    assert error.message.startswith("3 of 4 expectations do not hold, and nothing was published: ")
    assert [f"expect[{n}]" in error.message for n in range(4)] == [True, False, True, True]


def test_what_holds_stands_in_the_record_and_in_the_status_of_a_later_attempt(tmp_path: Path) -> None:
    wanted = plan(tmp_path, {"rows": ">= 1"}, {"unique": ["amount"]})
    first = sinks.run(wanted, FRAME.lazy())
    assert first.expectations == "2 hold: rows >= 1 (4); unique [amount]"
    (record,) = (tmp_path / "out/_commits").glob("*.json")
    assert json.loads(record.read_text())["expectations"] == ["rows >= 1 (4)", "unique [amount]"]
    again = sinks.sink(wanted, attempt=2).preflight()
    assert again is not None and again.expectations == first.expectations


def test_many_expectations_are_told_in_few_words(tmp_path: Path) -> None:
    status = judged(tmp_path, *[{"sql": f"SELECT count(*) > 0 AS {'x' * 200}{n} FROM result"} for n in range(32)])
    assert len(status.expectations) == MAX_EXPECTATIONS_SHOWN and status.expectations.startswith("32 hold")


def test_an_old_table_stays_as_it_was(tmp_path: Path) -> None:
    judged(tmp_path)
    before = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    for mode in ("append", "overwrite"):
        with pytest.raises(JobError, match="ExpectationFailed"):
            judged(tmp_path, {"rows": "> 4"}, mode=mode)
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == before


@pytest.mark.parametrize("by", [[], ["k"]])
def test_a_result_without_rows_is_judged_too(tmp_path: Path, by: list[str]) -> None:
    empty, name = FRAME.clear(), {"frame": FRAME.clear(), "partitionBy": by}
    assert "has 0 rows" in refused(tmp_path, {"rows": ">= 1"}, **name).message
    assert "NULL > 1" in refused(tmp_path, {"sql": "SELECT max(id) > 1 FROM result"}, **name).message
    fine = [{"rows": "== 0"}, {"unique": ["id"]}, {"notNull": ["id", "l"]}, {"sql": "SELECT count(*) = 0 FROM result"}]
    assert judged(tmp_path, *fine, frame=empty, partitionBy=by).rows == 0


values = st.one_of(st.none(), st.integers(0, 4))
rows_of_two = st.lists(st.tuples(values, st.sampled_from(["a", "b", None]), st.sampled_from([0.5, -0.0, 0.0, None])))


@given(rows=rows_of_two, by=st.sampled_from([[], ["k"]]), batch=st.sampled_from([1, 64 << 20]))
def test_results_are_judged_as_duckdb_judges_them(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], by: list[str], batch: int
) -> None:
    folder = tmp_path_factory.mktemp("judged")
    frame = pl.DataFrame(rows, schema={"n": pl.Int64, "k": pl.String, "x": pl.Float64}, orient="row")
    duck = duckdb.connect()
    duck.execute("CREATE TABLE result (n BIGINT, k VARCHAR, x DOUBLE)")
    if rows:
        duck.executemany("INSERT INTO result VALUES (?, ?, ?)", rows)
    twice = "NOT EXISTS (SELECT 1 FROM result WHERE {1} GROUP BY {0} HAVING count(*) > 1)"
    asked: list[tuple[dict[str, Any], str]] = [
        ({"unique": ["n"]}, twice.format("n", "n IS NOT NULL")),
        ({"unique": ["x"]}, twice.format("x", "x IS NOT NULL")),
        ({"unique": ["n", "k"]}, twice.format("n, k", "n IS NOT NULL AND k IS NOT NULL")),
        ({"notNull": ["n"]}, "(SELECT count(*) = count(n) FROM result)"),
        ({"notNull": ["k"]}, "(SELECT count(*) = count(k) FROM result)"),
        ({"sql": "SELECT coalesce(sum(n), 0) < 5 FROM result"}, "(SELECT coalesce(sum(n), 0) < 5 FROM result)"),
    ]
    answer = duck.execute(f"SELECT {', '.join(sql for _, sql in asked)}").fetchone()
    wanted = [n for n, holds in enumerate(answer or ()) if not holds]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "BATCH_BYTES", batch)
        patch.setattr(kept, "FIRST_ROWS", 2 if batch == 1 else kept.FIRST_ROWS)
        patch.setattr(scratch, "root", lambda: folder)
        wanting = (expectation for expectation, _ in asked)
        outcome = nullcontext() if all(answer or ()) else pytest.raises(JobError, match="ExpectationFailed")
        with outcome as caught:
            judged(folder, *wanting, frame=frame, partitionBy=by)
    message = caught.value.message if caught else ""
    assert [n for n in range(len(asked)) if f"expect[{n}]" in message] == wanted


REFUSED: list[Any] = [
    pytest.param({"unique": ["ids"]}, "UserError: output.expect[0] names 'ids', .* did you mean 'id'", id="no column"),
    pytest.param({"notNull": ["x"]}, "UserError: output.expect[0] names 'x', .* it has id, k", id="no such column"),
    pytest.param({"unique": ["l"]}, "UserError: .* cannot compare 'l' of type List.Int64.: name", id="a list"),
    pytest.param({"sql": "SELECT count(*) FROM result"}, "expect.0..sql: it returns BIGINT, and must", id="bigint"),
    pytest.param({"sql": "SELECT true, false FROM result"}, "returns BOOLEAN and BOOLEAN, and must", id="two"),
    pytest.param({"sql": "SELECT id > 0 FROM result"}, "must return exactly one: write", id="a boolean for each row"),
    pytest.param({"sql": "SELECT count(*) > 1 FROM result HAVING count(*) > 2"}, "may return no row", id="no row"),
    pytest.param({"sql": "SELECT true"}, "does not read result", id="nothing of the result"),
    pytest.param({"sql": "SELECT count(*) > 1 FROM t"}, 'column 26: table "t" is not .* .known: result.', id="a table"),
    pytest.param({"sql": "SELECT max(x) > 1 FROM result"}, "column 12: column \"x\" does not exist", id="a column"),
    pytest.param({"sql": "SELECT k > FROM result"}, "output.expect.0..sql: line 1, column", id="a syntax error"),
    pytest.param({"sql": "SELECT max(k) > 1::DATE FROM result"}, "output.expect.0..sql: line 1", id="a comparison"),
    pytest.param({"sql": "DROP TABLE result"}, "one SELECT", id="no query"),
]  # fmt: skip


@pytest.mark.parametrize(("expectation", "told"), REFUSED)
def test_what_cannot_be_asked_is_refused_before_the_query_runs(
    tmp_path: Path, expectation: dict[str, Any], told: str
) -> None:
    def asked() -> None:
        Expectations(plan(tmp_path, {"rows": ">= 1"}, expectation)).bind(FRAME.schema)

    with pytest.raises(JobError, match=told.replace("expect[0]", r"expect\[1\]").replace("expect.0.", "expect.1.")):
        asked()


def test_an_expectation_may_use_some_of_the_parameters(tmp_path: Path) -> None:
    made = plan(tmp_path, {"sql": "SELECT min(amount) >= :least FROM result"})
    given = {"least": {"integer": -2}, "since": {"date": "1994-01-01"}}
    made = type(made).model_validate({**made.model_dump(by_alias=True), "parameters": given})
    assert sinks.run(made, FRAME.lazy()).rows == 4


def test_an_expectation_is_in_the_dialect_of_the_query(tmp_path: Path) -> None:
    made = plan(tmp_path, {"sql": "SELECT count_if(amount < 0) = 1 FROM result WHERE `k` RLIKE 'b'"})
    assert sinks.run(made.model_copy(update={"dialect": Dialect.SPARK}), FRAME.lazy()).rows == 4
    with pytest.raises(JobError, match="InvalidQuery"):
        Expectations(made)


def test_a_statement_that_would_hold_too_much_is_refused_and_one_pass_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expect_sql, "MAX_HELD", 10)
    groups = {"sql": "SELECT count(DISTINCT k) = 2 FROM result"}
    error = refused(tmp_path, groups)
    assert error.failure is Failure.OUTPUT_LIMIT and "expect[0]: it is not checked" in error.message
    error = refused(tmp_path, groups, {"rows": "< 4"})
    assert error.failure is Failure.EXPECTATION_FAILED and "it is not checked" in error.message
    assert judged(tmp_path, {"sql": "SELECT count(k) = 4 AND avg(amount) > 0 FROM result"}).rows == 4


def add(one: Sink, frame: pl.DataFrame, **how: Any) -> None:
    """Hand over a file as an engine does."""
    file = one.scratch() / "part.000000.parquet"
    pq.write_table(frame.to_arrow(), file, **how) if how else frame.write_parquet(file)
    one.add(file)


@pytest.mark.parametrize("by", [[], ["k"]])
@pytest.mark.parametrize("zone", [None, "UTC"], ids=["as planned", "as libcudf writes it"])
def test_files_of_an_engine_are_judged_as_they_are_staged(tmp_path: Path, by: list[str], zone: str | None) -> None:
    moments = pl.Series([1, 2, 2]).cast(pl.Datetime("ns"))
    frame = pl.DataFrame({"k": ["a", "b", "b"], "t": moments})
    one = sinks.sink(plan(tmp_path, {"unique": ["t"]}, {"notNull": ["t"]}, partitionBy=by))
    assert one.preflight() is None
    one.check_schema(frame.schema)
    for _ in range(2):
        add(one, frame.with_columns(pl.col("t").dt.replace_time_zone(zone)))
    with pytest.raises(JobError, match=r"2 keys are there more than once, in 6 of 6 rows; .* in 4 of them"):
        one.commit([one.seal()])
    one.abort()
    assert leftovers(tmp_path) == []


TYPES = pl.Schema(
    {
        "c": pl.Categorical(), "e": pl.Enum(["z", "b", "a"]), "d": pl.Decimal(12, 2), "t": pl.Time(), "f": pl.Float32(),
        "u": pl.UInt64(), "n": pl.Datetime("ns"), "z": pl.Datetime("ms", "UTC"), "s": pl.Struct({"x": pl.Int32()}),
        "l": pl.List(pl.String()), "day": pl.Date(),
    }
)  # fmt: skip
MOMENT = datetime(2024, 7, 1, 12)
CONSTANT = {
    "d": Decimal("1.10"), "t": time(1, 2, 3), "f": 1.5, "u": 2**64 - 1, "n": MOMENT, "z": MOMENT.replace(tzinfo=UTC),
    "s": {"x": 1}, "l": ["q", None], "day": date(2024, 1, 1),
}  # fmt: skip
SEEN = [
    "SELECT count(*) = 2 FROM result WHERE c = 'b'", "SELECT count(*) = 2 FROM result WHERE e = 'b'",
    "SELECT count(DISTINCT c) = 3 FROM result", "SELECT sum(d) = 12.10 FROM result",
    "SELECT max(t) = TIME '01:02:03' FROM result", "SELECT min(f) = 1.5 FROM result",
    "SELECT count(*) = 11 FROM result WHERE u = 18446744073709551615",
    "SELECT max(n) = TIMESTAMP '2024-07-01 12:00:00' FROM result",
    "SELECT count(*) = 11 FROM result WHERE z = TIMESTAMPTZ '2024-07-01 12:00:00+00'",
    "SELECT count(*) = 11 FROM result WHERE s.x = 1", "SELECT count(*) = 11 FROM result WHERE l[1] = 'q'",
    "SELECT count(*) = 11 FROM result WHERE day = DATE '2024-01-01'",
]  # fmt: skip


@pytest.mark.parametrize("by", [[], ["c"], ["e"], ["d"], ["n"], ["f", "u"]], ids=str)
def test_sql_sees_values_of_every_type_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: list[str]
) -> None:
    """Three files with categories in three orders, which are kept in batches of a few rows."""
    monkeypatch.setattr(kept, "BATCH_BYTES", 200)
    monkeypatch.setattr(kept, "FIRST_ROWS", 2)
    one = sinks.sink(plan(tmp_path, *({"sql": sql} for sql in SEEN), partitionBy=by))
    assert one.preflight() is None
    one.check_schema(TYPES)
    for texts in (["a", "b", "z"], ["b", "z", "a"], ["z"] * 5):
        columns = {"c": texts, "e": texts, **{name: [value] * len(texts) for name, value in CONSTANT.items()}}
        add(one, pl.DataFrame(columns, schema=TYPES))
    assert one.commit([one.seal()]).rows == 11


def test_nanoseconds_of_a_folder_are_not_lost(tmp_path: Path) -> None:
    frame = pl.DataFrame({"t": pl.Series([1, 2]).cast(pl.Datetime("ns", "UTC")), "v": [1, 1]})
    assert judged(tmp_path, {"unique": ["t"]}, {"unique": ["t", "v"]}, frame=frame, partitionBy=["t"]).rows == 2


def test_a_file_that_does_not_tell_its_nulls_is_not_believed_to_have_none(tmp_path: Path) -> None:
    one = sinks.sink(plan(tmp_path, {"notNull": ["v"]}))
    one.preflight()
    frame = pl.DataFrame({"v": [1, None]})
    one.check_schema(frame.schema)
    add(one, frame, write_statistics=False)
    with pytest.raises(JobError, match=r"OutputLimit: .* notNull cannot be checked for column 'v'"):
        one.seal()
    one.abort()


def test_a_file_whose_schema_allows_no_nulls_has_none(tmp_path: Path) -> None:
    one = sinks.sink(plan(tmp_path, {"notNull": ["v"]}))
    one.preflight()
    frame = pl.DataFrame({"v": [1, 2]})
    one.check_schema(frame.schema)
    file = one.scratch() / "part.000000.parquet"
    table = frame.to_arrow()
    pq.write_table(table.cast(pa.schema([table.schema.field("v").with_nullable(False)])), file, write_statistics=False)
    one.add(file)
    assert one.commit([one.seal()]).expectations == "1 hold: notNull [v]"


def test_what_a_preflight_has_left_for_attempts_goes_with_the_result(tmp_path: Path) -> None:
    wanted = plan(tmp_path, {"rows": "> 4"})
    sinks.sink(wanted).leave("the inputs")
    with pytest.raises(JobError, match="ExpectationFailed"):
        sinks.run(wanted, FRAME.lazy())
    assert leftovers(tmp_path) == []


def test_a_result_is_not_published_unjudged(tmp_path: Path) -> None:
    one = sinks.sink(plan(tmp_path, {"rows": "> 4"}))
    one.preflight()
    one.write(FRAME.lazy())
    with pytest.raises(JobError, match="ExpectationFailed"):
        one.commit()
    one.abort()
