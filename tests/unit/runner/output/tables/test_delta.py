"""A Delta table behind the sink, on a folder of this machine; tests/s3/test_delta_output.py has processes and S3."""

from __future__ import annotations

import json
import math
import os
import re
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.sink import Identity, Sink
from tests.support import sinks
from tests.support.delta_output import log, read
from tests.support.delta_runs import DEATHS, ROWS, Death, attempt

if TYPE_CHECKING:
    from pathlib import Path

    from gpuquery.plan.plan import Plan

LF = pl.LazyFrame(ROWS)
WANT = sorted(zip(ROWS["k"], ROWS["v"], strict=True), key=str)


def plan(path: Path, **more: Any) -> Plan:
    return sinks.plan(f"file://{path}", **{"delta": {}, "mode": "append", "partition_by": ["k"], **more})


def rows(path: Path) -> list[Any]:
    found = read(path)
    return sorted(zip(found["k"].to_pylist(), found["v"].to_pylist(), strict=True), key=str)


def files(path: Path, folder: str) -> list[str]:
    return sorted(str(one.relative_to(path)) for one in (path / folder).rglob("*") if one.is_file())


class Dead(BaseException):
    """The process is gone."""


def die_at(one: Sink, death: Death, patched: pytest.MonkeyPatch) -> None:
    kind = type(one._table.store)
    call = getattr(kind, death.method)

    def deadly(self: Any, key: Any, *more: Any) -> Any:
        hit = any(re.search(death.key, each) for each in ([key] if isinstance(key, str) else key))
        if hit and not death.after:
            raise Dead
        found = call(self, key, *more)
        if hit:
            raise Dead
        return found

    patched.setattr(kind, death.method, deadly)


@pytest.mark.parametrize("moment", [moment for moment in DEATHS if moment != "while a file is written"])
def test_an_attempt_that_dies_and_the_next_make_one_commit(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(tmp_path)
    with monkeypatch.context() as patched:
        one = sinks.sink(made)
        die_at(one, DEATHS[moment], patched)
        with pytest.raises(Dead):
            attempt(one)
    assert attempt(sinks.sink(made, 2)) == "version 0"
    assert (DeltaTable(tmp_path).version(), rows(tmp_path)) == (0, WANT)
    assert len(files(tmp_path, "data")) == len(DeltaTable(tmp_path).file_uris()) == 3
    assert files(tmp_path, "_staging") == []


def test_the_status_says_what_the_log_says(tmp_path: Path) -> None:
    made = plan(tmp_path, expect=[{"rows": ">= 1"}])
    done = sinks.run(made, LF)
    assert (done.uri, done.version, done.files, done.rows, done.partitions) == (f"file://{tmp_path}/", 0, 3, 300, 3)
    assert done.bytes == sum(DeltaTable(tmp_path).get_add_actions(flatten=True)["size_bytes"].to_pylist())
    assert done.expectations == "1 hold: rows >= 1 (300)"
    assert sinks.run(made, LF, attempt=2) == done


def test_two_ranks_make_one_commit(tmp_path: Path) -> None:
    made = plan(tmp_path)
    ranks = [Sink(made, Identity(made.job.uid, 1, rank, 2)) for rank in range(2)]
    assert ranks[0].preflight() is None
    for rank, one in enumerate(ranks):
        one.write(LF.filter(pl.col("v") % 2 == rank))
    totals = [one.seal() for one in ranks]
    assert ranks[0].commit(totals).files == 6
    assert rows(tmp_path) == WANT


def test_a_retry_keeps_files_that_were_replaced_since_for_earlier_versions(tmp_path: Path) -> None:
    made = plan(tmp_path)
    sinks.run(made, LF)
    sinks.run(plan(tmp_path, mode="overwrite"), LF.limit(1))
    again = sinks.sink(made, 2)
    (tmp_path / f"_staging/{made.job.uid}/1").mkdir(parents=True)
    (tmp_path / f"_staging/{made.job.uid}/1/rank-00000.lease").touch()
    assert again.preflight() is not None
    assert DeltaTable(tmp_path, version=0).to_pyarrow_table().num_rows == 300
    assert files(tmp_path, "_staging") == []


@pytest.mark.parametrize("behind", [1, 2, 3])
def test_committed_files_stay_while_listings_do_not_show_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: int
) -> None:
    made = plan(tmp_path)
    late = sinks.sink(made, 2)
    assert late.preflight() is None
    late.check_schema(LF.collect_schema())
    late.write(LF)
    assert attempt(sinks.sink(made)) == "version 0"
    (tmp_path / f"_staging/{made.job.uid}/1").mkdir(parents=True)
    (tmp_path / f"_staging/{made.job.uid}/1/rank-00000.lease").touch()
    kind = type(late._table.store)
    listed, seen = kind.list, []

    def lags(self: Any, prefix: str, *more: Any) -> Any:
        """The one listing of the log that is `behind` shows what was there before the commit."""
        seen.append(prefix)
        return iter(()) if prefix == "_delta_log/" and seen.count(prefix) == behind else listed(self, prefix, *more)

    monkeypatch.setattr(kind, "list", lags)
    assert attempt(late) == "version 0"
    assert rows(tmp_path) == WANT and len(DeltaTable(tmp_path).file_uris()) == 3


def test_files_of_a_job_that_died_a_day_ago_are_removed_and_no_others(tmp_path: Path) -> None:
    dead = sinks.sink(plan(tmp_path))
    assert dead.preflight() is None
    dead.write(LF)
    dead.seal()
    live = sinks.sink(plan(tmp_path))
    live.write(LF)
    sinks.run(plan(tmp_path), LF)
    before = time.time() - 2 * 86_400
    for name in files(tmp_path, f"_staging/{dead._identity.uid}"):
        os.utime(tmp_path / name, (before, before))
    sinks.run(plan(tmp_path), LF)
    kept = {live._identity.uid[:8], *(uri.split("part-")[1][:8] for uri in DeltaTable(tmp_path).file_uris())}
    assert {name.split("part-")[1][:8] for name in files(tmp_path, "data")} == kept
    assert len(files(tmp_path, "data")) == 9
    with pytest.raises(JobError, match="given up for dead"):
        dead.commit()


def test_a_folder_with_a_log_of_our_own_is_no_place_for_a_delta_table(tmp_path: Path) -> None:
    sinks.run(sinks.plan(f"file://{tmp_path}"), LF)
    with pytest.raises(JobError, match="hive folders with a log of their own") as caught:
        sinks.sink(plan(tmp_path)).preflight()
    assert caught.value.failure is Failure.USER_ERROR


def test_a_partition_value_that_would_become_null_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="partition column 'k': the value '' would be read as null") as caught:
        sinks.run(plan(tmp_path), pl.LazyFrame({"k": ["", "a"], "v": [1, 2]}))
    assert caught.value.failure is Failure.USER_ERROR
    assert files(tmp_path, "data") == files(tmp_path, "_delta_log") == []


def test_what_the_table_lacks_is_told_before_the_query_runs(tmp_path: Path) -> None:
    sinks.run(plan(tmp_path), LF)
    one = sinks.sink(plan(tmp_path))
    assert one.preflight() is None
    with pytest.raises(JobError, match=r"column 'more' .Int32. is not in the table"):
        one.check_schema(pl.Schema({"k": pl.String, "v": pl.Int64, "more": pl.Int32}))
    wide = plan(tmp_path, schema_evolution="widen")
    sinks.run(wide, LF.with_columns(more=pl.lit(7, pl.Int8)))
    assert sorted(read(tmp_path)["more"].to_pylist(), key=str) == [7] * 300 + [None] * 300


def test_overwrite_where_replaces_what_it_says(tmp_path: Path) -> None:
    sinks.run(plan(tmp_path), LF)
    where = plan(tmp_path, mode="overwrite", overwrite_where="k = 'ä'").model_copy(update={"now": datetime.now(UTC)})
    sinks.run(where, pl.LazyFrame({"k": ["ä"], "v": [-1]}))
    assert rows(tmp_path) == sorted([one for one in WANT if one[0] != "ä"] + [("ä", -1)], key=str)


COLUMNS = {
    "i": [-5, 7, None, 2**60],
    "t": ["\N{CJK UNIFIED IDEOGRAPH-20BB7}", "z" * 100, "", "\U0010ffff" + "m" * 100],
    "d": [date(1, 1, 1), date(9999, 12, 31), None, None],
    "z": [datetime(2026, 1, 1, 0, 0, 0, us, tzinfo=UTC) for us in (999, 1000, 1, 2)],
    "m": [Decimal("1.50"), Decimal("2.25"), Decimal(0), Decimal(0)],
    "b": [True, False, None, True],
    "f": [math.nan, 1.0, -0.0, 2.0],
    "s": [{"x": 1}, {"x": 2}, {"x": None}, None],
    "l": [[1], [], None, [None]],
    "y": [b"a", None, b"", b"b"],
}
TYPES = {"m": pl.Decimal(6, 2), "z": pl.Datetime("us", "UTC")}


@pytest.mark.parametrize("left_out", [[], ["f"], ["f", "y", "l"], ["t"]], ids=lambda names: f"without {names}")
def test_readers_skip_files_by_statistics_and_lose_no_row(tmp_path: Path, left_out: list[str]) -> None:
    """A filter for each value of each column finds its row, by pyarrow's dataset of delta-rs, and by Polars."""
    names = [name for name in COLUMNS if name not in left_out]
    frame = pl.DataFrame({"k": ["a", "a", "b", "b"], **{name: COLUMNS[name] for name in names}}, schema_overrides=TYPES)
    sinks.run(plan(tmp_path), frame.lazy())
    told = [json.loads(one["add"]["stats"]) for one in log(tmp_path, 0) if "add" in one]
    assert [("minValues" in one) for one in told] == ["f" in left_out] * 2
    dataset = DeltaTable(tmp_path).to_pyarrow_dataset()
    for name in names:
        for value in COLUMNS[name]:
            if name in ("s", "l") or value is COLUMNS["f"][0]:  # NaN equals nothing in Arrow
                continue
            same = pl.col(name).eq_missing(pl.lit(value, frame.schema[name]))
            want = frame.filter(same).height
            kind = dataset.schema.field(name).type
            by_arrow = pc.field(name).is_null() if value is None else pc.field(name) == pa.scalar(value, kind)
            assert dataset.to_table(filter=by_arrow).num_rows == want, (name, value)
            assert pl.scan_delta(str(tmp_path)).filter(same).collect().height == want, (name, value)
    assert dataset.to_table(filter=pc.field("s", "x") == 2).num_rows == 1


def test_statistics_of_the_first_columns_say_nothing_of_the_rest(tmp_path: Path) -> None:
    """What is not known of a column must not pass for a column that the file lacks, which is null."""
    frame = pl.DataFrame({"k": ["a", "b"], **{f"c{number}": [1, 2] for number in range(70)}})
    write_deltalake(
        tmp_path, frame.clear().to_arrow(), partition_by=["k"],
        configuration={"delta.dataSkippingNumIndexedCols": "-1"},
    )  # fmt: skip
    sinks.run(plan(tmp_path), frame.lazy())
    dataset = DeltaTable(tmp_path).to_pyarrow_dataset()
    assert dataset.to_table(filter=pc.field("c69") == 2).num_rows == 1
    assert pl.scan_delta(str(tmp_path)).filter(pl.col("c69").is_not_null()).collect().height == 2
    told = [json.loads(one["add"]["stats"]) for one in log(tmp_path, 1) if "add" in one]
    assert [sorted(one["nullCount"], key=lambda name: int(name[1:]))[-1] for one in told] == ["c63"] * 2


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pl.Struct({"x": pl.Int64}), {"x": None}),
        (pl.Struct({"x": pl.Int64, "y": pl.Int64}), {"x": None, "y": 1}),
        (pl.Struct({"q": pl.Struct({"x": pl.Int64}), "z": pl.Int64}), {"q": {"x": None}, "z": 1}),
        (pl.Struct({"q": pl.Struct({"x": pl.Int64})}), {"q": {"x": None}}),
        (pl.Struct({"l": pl.List(pl.Int64), "b": pl.Binary}), {"l": [None], "b": b""}),
    ],
    ids=str,
)
def test_structs_that_hold_nothing_are_found(tmp_path: Path, kind: pl.DataType, value: Any) -> None:
    """delta-rs writes the same bounds of them, but for the order."""
    frame = pl.DataFrame({"k": ["a", "a"], "i": [1, 2], "s": [None, value]}, schema_overrides={"s": kind})
    sinks.run(plan(tmp_path / "ours"), frame.lazy())
    write_deltalake(tmp_path / "theirs", frame.to_arrow(), partition_by=["k"])
    told = [json.loads(log(tmp_path / name, 0)[-1]["add"]["stats"]) for name in ("ours", "theirs")]
    assert [told[0][bound] for bound in ("minValues", "maxValues")] == [told[1][b] for b in ("minValues", "maxValues")]
    dataset = DeltaTable(tmp_path / "ours").to_pyarrow_dataset()
    for condition in (pc.field("s").is_null(), pc.field("s").is_valid()):
        assert dataset.to_table(filter=condition).num_rows == 1
