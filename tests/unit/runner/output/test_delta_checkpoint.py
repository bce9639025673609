"""Checkpoints of Delta tables, against those of delta-rs and as it reads them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from gpuquery.runner.output.tables.delta import checkpoint
from tests.support import delta_output as o
from tests.support import delta_tables as d
from tests.support import sinks
from tests.support.delta_output import APPEND, OVERWRITE, PARTITIONS, Writer

if TYPE_CHECKING:
    from pathlib import Path

OLD = pl.DataFrame({"day": ["mon", "a/b%=ü", None], "v": [1, 2, 3]})
RESULT = pl.DataFrame({"day": ["mon", "wed"], "v": [10, 40]})
LEFT_OPEN = ("stats_parsed", "partitionValues_parsed", "dataChange")
"""Fields that repeat others; and one that says of a commit what a checkpoint does not do: Spark writes false, as we do,
delta-rs leaves it."""
KINDS = ("txn", "add", "remove", "metaData", "protocol")


def with_history(path: Path, **configuration: str) -> Writer:
    """A table with files that came and went, transactions and properties; its last writer has it in memory."""
    write_deltalake(
        path, OLD.to_arrow(), partition_by=["day"], name="orders", description='of "all"\nmonths',
        configuration=configuration,
    )  # fmt: skip
    for mode in (APPEND, OVERWRITE, APPEND, PARTITIONS):
        writer = Writer(path, mode, by=["day"])
        writer.write(RESULT if mode is not OVERWRITE else OLD)
    return writer


def write(writer: Writer) -> Path:
    snapshot = writer.committer.state.snapshot
    assert snapshot is not None
    checkpoint.write(writer.target, snapshot)
    return writer.path / f"_delta_log/{snapshot.version:020d}.checkpoint.parquet"


def actions(file: Path) -> dict[str, list[Any]]:
    """What a checkpoint says, by kind, without what one writer leaves open and another writes as a default."""
    table = pq.read_table(file)
    found: dict[str, list[Any]] = {}
    for kind in KINDS:
        rows = [plain(one) for one in table[kind].to_pylist()]
        found[kind] = sorted((one for one in rows if one), key=str)
    return found


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: plain(one) for name, one in value.items() if name not in LEFT_OPEN}
        return {name: one for name, one in kept.items() if one not in (None, {}, [], False)}
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return dict(value)
    return value


def seen(path: Path) -> tuple[Any, ...]:
    table = DeltaTable(path)
    transactions = sorted((one, table.transaction_version(one)) for one in apps(path))
    rows = sorted(o.read(path).to_pylist(), key=str)
    return (
        rows,
        sorted(table.file_uris()),
        transactions,
        table.metadata().configuration,
        sorted(table.vacuum(0, True, False)),
    )


def apps(path: Path) -> set[str]:
    return {one["txn"]["appId"] for file in path.glob("_delta_log/*.json") for one in lines(file) if "txn" in one}


def lines(file: Path) -> list[dict[str, Any]]:
    return o.log(file.parent.parent, int(file.stem)) if file.stem.isdigit() else []


def test_it_says_what_the_one_of_delta_rs_says(tmp_path: Path) -> None:
    ours = write(with_history(tmp_path / "ours"))
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    theirs = tmp_path / "theirs/_delta_log" / ours.name
    theirs.unlink()
    theirs.with_name("_last_checkpoint").unlink()
    DeltaTable(tmp_path / "theirs").create_checkpoint()
    told = actions(ours)
    assert told == actions(theirs)
    assert {kind: len(rows) for kind, rows in told.items()} == {
        "txn": 4, "add": 4, "remove": 8, "metaData": 1, "protocol": 1,
    }  # fmt: skip


@pytest.mark.parametrize("before", ["", "ours", "delta-rs", "delta-rs with parsed statistics"])
def test_a_table_is_the_same_when_its_older_entries_are_gone(tmp_path: Path, before: str) -> None:
    writer = with_history(tmp_path, **{"delta.checkpoint.writeStatsAsStruct": str("parsed" in before).lower()})
    if before == "ours":
        write(writer)
    elif before:
        DeltaTable(tmp_path).create_checkpoint()
    writer = Writer(tmp_path, by=["day"])
    writer.write(RESULT)
    want, mine = seen(tmp_path), apps(tmp_path)
    write(writer)
    for file in tmp_path.glob("_delta_log/*"):
        if file.name < f"{5:020d}.checkpoint" and not file.name.startswith("_"):
            file.unlink()
    table = DeltaTable(tmp_path)
    assert [table.transaction_version(app) for app in sorted(mine)] == [1] * 5
    rows, files, _, configuration, removed = seen(tmp_path)
    assert (rows, files, configuration, removed) == (want[0], want[1], want[3], want[4])
    assert Writer(tmp_path, by=["day"], uid=writer.job.uid).write(RESULT).version == 5


@pytest.mark.parametrize(("told", "want"), [(None, [4, 9]), ("3", [2, 5, 8]), ("0", [4, 9]), ("many", [4, 9])])
def test_a_job_writes_one_every_so_many_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str | None, want: list[int]
) -> None:
    monkeypatch.setattr(checkpoint, "INTERVAL", 5)
    properties = {"delta.checkpointInterval": told} if told else {}
    d.commit(tmp_path, 0, d.protocol(), d.metadata([d.field("v", "long")], **properties))
    for _ in range(9):
        plan = sinks.plan(f"file://{tmp_path}", delta={}, mode="append")
        one = sinks.sink(plan)
        one.preflight()
        one.check_schema(pl.Schema({"v": pl.Int64}))
        one.write(pl.LazyFrame({"v": [1]}))
        one.commit()
    found = sorted(int(file.name[:20]) for file in tmp_path.glob("_delta_log/*.checkpoint.parquet"))
    assert found == want
    assert len(o.read(tmp_path)) == 9


@pytest.mark.parametrize(
    ("protocol", "add", "words"),
    [
        pytest.param(d.protocol("deletionVectors"), {}, "feature deletionVectors", id="deletion vectors"),
        pytest.param(d.protocol(), {"baseRowId": 7}, "add has the field baseRowId", id="a field that is not known"),
    ],
)
def test_a_table_in_which_something_would_be_lost_gets_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, protocol: Any, add: dict[str, Any], words: str
) -> None:
    d.commit(tmp_path, 0, protocol, d.metadata([d.field("v", "long")]))
    d.commit(tmp_path, 1, {"add": {"path": "x.parquet", "partitionValues": {}, "size": 1, **add}})
    writer = Writer(tmp_path)
    writer.write(pl.DataFrame({"v": [1]}))
    assert not write(writer).exists()
    assert words in caplog.text


def test_a_checkpoint_that_does_not_say_what_the_log_says_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer = with_history(tmp_path)
    whole = checkpoint._parquet
    monkeypatch.setattr(checkpoint, "_parquet", lambda lines: whole(lines[:-1]))
    assert not write(writer).exists()
    assert "what was read back of it differs" in caplog.text


def test_a_removed_file_is_remembered_as_long_as_the_table_says(tmp_path: Path) -> None:
    writer = with_history(tmp_path, **{"delta.deletedFileRetentionDuration": "interval 0 seconds"})
    assert actions(write(writer))["remove"] == []
