"""Commits to Delta tables, read back by delta-rs: modes, and one commit for each job whatever happens."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from tests.support import delta_output as o
from tests.support import delta_tables as d
from tests.support.delta_output import APPEND, NEW, OVERWRITE, PARTITIONS, Writer

if TYPE_CHECKING:
    from pathlib import Path

    from gpuquery.runner.output.tables.delta.modes import Mode

OLD = pl.DataFrame({"day": ["mon", "tue", None], "v": [1, 2, 3]})
RESULT = pl.DataFrame({"day": ["mon", "wed"], "v": [10, 40]})


def rows(path: Path) -> list[tuple[Any, Any]]:
    found = o.read(path)
    return sorted(zip(found["day"].to_pylist(), found["v"].to_pylist(), strict=True), key=str)


@pytest.mark.parametrize(
    ("mode", "want"),
    [
        pytest.param(APPEND, [("mon", 1), ("mon", 10), ("tue", 2), ("wed", 40), (None, 3)], id="append adds"),
        pytest.param(OVERWRITE, [("mon", 10), ("wed", 40)], id="overwrite replaces all"),
        pytest.param(
            PARTITIONS, [("mon", 10), ("tue", 2), ("wed", 40), (None, 3)],
            id="overwritePartitions replaces what the result has",
        ),
        pytest.param(
            o.where("day IN ('mon', 'wed')"), [("mon", 10), ("tue", 2), ("wed", 40), (None, 3)],
            id="overwriteWhere replaces what satisfies it",
        ),
        pytest.param(
            o.where("day <> 'tue' OR day IS NULL"), [("mon", 10), ("tue", 2), ("wed", 40)],
            id="overwriteWhere also replaces what the result has no rows for",
        ),
    ],
)  # fmt: skip
def test_a_mode_leaves_and_replaces_what_it_says(tmp_path: Path, mode: Mode, want: list[Any]) -> None:
    write_deltalake(tmp_path, OLD.to_arrow(), partition_by=["day"])
    found = Writer(tmp_path, mode, by=["day"]).write(RESULT)
    assert rows(tmp_path) == sorted(want, key=str)
    assert (found.version, found.files, found.rows, found.partitions) == (1, 2, 2, 2)
    metrics = DeltaTable(tmp_path).history(1)[0]["operationMetrics"]
    assert metrics["numOutputRows"] == "2"


@pytest.mark.parametrize("mode", [NEW, APPEND, OVERWRITE, PARTITIONS], ids=lambda mode: type(mode).__name__)
def test_any_mode_makes_a_table_that_is_not_there(tmp_path: Path, mode: Mode) -> None:
    Writer(tmp_path, mode, by=["day"]).write(RESULT)
    assert rows(tmp_path) == [("mon", 10), ("wed", 40)]


def test_error_if_exists_refuses_a_table_of_others(tmp_path: Path) -> None:
    write_deltalake(tmp_path, OLD.to_arrow())
    with pytest.raises(JobError, match="there already, in version 0") as caught:
        Writer(tmp_path, NEW).write(RESULT)
    assert caught.value.failure is Failure.OUTPUT_EXISTS


def test_a_result_without_rows_is_a_commit_without_files(tmp_path: Path) -> None:
    write_deltalake(tmp_path, OLD.to_arrow(), partition_by=["day"])
    found = Writer(tmp_path, OVERWRITE, by=["day"]).write(RESULT.clear())
    assert (found.version, found.files, rows(tmp_path)) == (1, 0, [])


def test_a_new_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    Writer(tmp_path, NEW).write(RESULT.clear())
    assert o.read(tmp_path).to_pydict() == {"day": [], "v": []}


def test_rows_that_do_not_satisfy_overwrite_where_are_refused(tmp_path: Path) -> None:
    write_deltalake(tmp_path, OLD.to_arrow(), partition_by=["day"])
    with pytest.raises(JobError, match="1 partitions that do not satisfy it, such as day = wed"):
        Writer(tmp_path, o.where("day = 'mon'"), by=["day"]).write(RESULT)
    assert len(rows(tmp_path)) == 3


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("v > 1", "partition columns .day. and nothing else", id="another column"),
        pytest.param("day", "boolean", id="no predicate"),
        pytest.param(
            "day = (SELECT max(day) FROM result)", "no predicate over the columns of one row", id="a subquery"
        ),
        pytest.param("count(*) > 1", "aggregate", id="an aggregate"),
    ],
)
def test_what_is_no_predicate_over_partition_columns_is_refused_before_the_query(
    tmp_path: Path, text: str, why: str
) -> None:
    write_deltalake(tmp_path, OLD.to_arrow(), partition_by=["day"])
    writer = Writer(tmp_path, o.where(text), by=["day"])
    writer.committer.recover()
    with pytest.raises(JobError, match=f"(?i){why}") as caught:
        writer.committer.check_mode()
    assert caught.value.failure is Failure.INVALID_QUERY
    assert "output.overwriteWhere" in caught.value.message


def test_overwrite_partitions_of_a_table_without_partitions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="the table has no partitions: use mode overwrite"):
        Writer(tmp_path, PARTITIONS).write(RESULT)


def test_a_job_that_has_committed_finds_its_commit_and_makes_no_other(tmp_path: Path) -> None:
    first = Writer(tmp_path, by=["day"])
    made = first.write(RESULT)
    write_deltalake(tmp_path, OLD.to_arrow(), mode="append")
    again = Writer(tmp_path, by=["day"], uid=first.job.uid).write(RESULT)
    assert again == made
    assert len(rows(tmp_path)) == 5


@pytest.mark.parametrize("cleaned", [False, True], ids=["the log is whole", "the log begins with a checkpoint"])
def test_a_commit_is_found_in_a_checkpoint_too(tmp_path: Path, cleaned: bool) -> None:
    first = Writer(tmp_path, by=["day"])
    made = first.write(RESULT)
    write_deltalake(tmp_path, OLD.to_arrow(), mode="append")
    DeltaTable(tmp_path).create_checkpoint()
    if cleaned:
        (tmp_path / f"_delta_log/{0:020d}.json").unlink()
    again = Writer(tmp_path, by=["day"], uid=first.job.uid).write(RESULT)
    assert again.version == (1 if cleaned else made.version)
    assert cleaned or again == made
    assert len(rows(tmp_path)) == 5


def test_a_commit_is_found_in_a_compacted_log_too(tmp_path: Path) -> None:
    """Readers take a compacted file in place of the commits in it, which are still there."""
    write_deltalake(tmp_path, OLD.to_arrow(), partition_by=["day"])
    write_deltalake(tmp_path, OLD.to_arrow(), mode="append")
    first = Writer(tmp_path, by=["day"])
    made = first.write(RESULT)
    write_deltalake(tmp_path, OLD.to_arrow(), mode="append")
    kept = [one for version in (1, 2, 3) for one in o.log(tmp_path, version) if "commitInfo" not in one]
    text = "".join(json.dumps(one) + "\n" for one in kept)
    (tmp_path / f"_delta_log/{1:020d}.{3:020d}.compacted.json").write_text(text)
    assert Writer(tmp_path, by=["day"], uid=first.job.uid).write(RESULT) == made


def test_a_commit_that_came_between_is_read_and_the_commit_is_built_anew(tmp_path: Path) -> None:
    """An append to a partition that is overwritten, after the result was staged, is replaced too."""
    write_deltalake(tmp_path, OLD.to_arrow(), partition_by=["day"])
    late = [pl.DataFrame({"day": ["mon", "tue"], "v": [100, 200]})]
    writer = Writer(tmp_path, PARTITIONS, by=["day"])
    writer.write(RESULT, before=lambda: late and write_deltalake(tmp_path, late.pop().to_arrow(), mode="append"))
    assert rows(tmp_path) == sorted([("mon", 10), ("tue", 2), ("tue", 200), ("wed", 40), (None, 3)], key=str)
    assert DeltaTable(tmp_path).version() == 2


def test_of_two_that_make_a_table_one_wins_and_the_other_appends_or_is_refused(tmp_path: Path) -> None:
    other = [Writer(tmp_path, by=["day"])]
    Writer(tmp_path, by=["day"]).write(RESULT, before=lambda: other and other.pop().write(OLD))
    assert len(rows(tmp_path)) == 5
    second = tmp_path / "second"
    second.mkdir()
    other = [Writer(second, by=["day"])]
    loser = Writer(second, NEW, by=["day"])
    with pytest.raises(JobError) as caught:
        loser.write(RESULT, before=lambda: other and other.pop().write(OLD))
    assert caught.value.failure is Failure.OUTPUT_EXISTS
    assert loser.committer.certain
    assert len(rows(second)) == 3


@pytest.mark.parametrize("same", [True, False], ids=["of one job", "of four jobs"])
def test_four_committers_at_a_time_commit_once_for_each_job(tmp_path: Path, same: bool) -> None:
    write_deltalake(tmp_path, OLD.to_arrow(), partition_by=["day"])
    gate = threading.Barrier(4)
    found: list[Any] = []

    def run(number: int) -> None:
        writer = Writer(tmp_path, by=["day"], uid="one" if same else f"job-{number}")
        waited = [gate]
        try:
            found.append(writer.write(RESULT, before=lambda: waited and waited.pop().wait(60)))
        except Exception as exc:
            found.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    commits = 1 if same else 4
    assert len({one.version for one in found}) == commits
    assert len(rows(tmp_path)) == len(OLD) + commits * len(RESULT)


def test_an_answer_that_is_lost_is_found_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tmp_path, by=["day"])
    create = type(writer.target.store).create

    def lossy(self: Any, key: str, body: bytes) -> bool:
        create(self, key, body)
        raise JobError(Failure.STORAGE_UNAVAILABLE, "the answer is lost")

    monkeypatch.setattr(type(writer.target.store), "create", lossy)
    assert writer.write(RESULT).version == 0
    assert len(rows(tmp_path)) == 2
    assert DeltaTable(tmp_path).version() == 0


def test_an_answer_that_is_lost_before_the_store_did_it_leaves_the_commit_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path, by=["day"])

    def dead(self: Any, key: str, body: bytes) -> bool:
        raise JobError(Failure.STORAGE_UNAVAILABLE, "nobody answers")

    with monkeypatch.context() as patched:
        patched.setattr(type(writer.target.store), "create", dead)
        with pytest.raises(JobError, match="nobody answers"):
            writer.write(RESULT)
    assert not writer.committer.certain
    assert Writer(tmp_path, by=["day"], uid=writer.job.uid).write(RESULT).version == 0


def test_the_right_to_commit_is_asked_before_each_try(tmp_path: Path) -> None:
    def lost() -> None:
        raise JobError(Failure.WORKER_LOST, "given up")

    with pytest.raises(JobError, match="given up"):
        Writer(tmp_path).write(RESULT, before=lost)
    assert not (tmp_path / "_delta_log").exists()


def test_files_with_deletion_vectors_are_removed_with_them(tmp_path: Path) -> None:
    vector = d.inline([0])
    d.commit(
        tmp_path, 0, d.protocol("deletionVectors"), d.metadata([d.field("day", "string"), d.field("v", "long")]),
        d.add(tmp_path, "a.parquet", OLD.to_arrow(), deletionVector=vector, stats=json.dumps({"numRecords": 3})),
    )  # fmt: skip
    Writer(tmp_path, OVERWRITE).write(RESULT)
    removed = [one["remove"] for one in o.log(tmp_path, 1) if "remove" in one]
    assert [one["deletionVector"]["pathOrInlineDv"] for one in removed] == [vector["pathOrInlineDv"]]
    assert len(DeltaTable(tmp_path).file_uris()) == 1


def test_times_in_commits_grow_where_the_table_asks_for_them(tmp_path: Path) -> None:
    far = 4_000_000_000_000
    protocol = d.protocol("inCommitTimestamp")
    protocol["protocol"]["readerFeatures"] = []
    d.commit(
        tmp_path, 0, {"commitInfo": {"timestamp": far, "inCommitTimestamp": far}}, protocol,
        d.metadata([d.field("day", "string"), d.field("v", "long")], **{"delta.enableInCommitTimestamps": "true"}),
    )  # fmt: skip
    Writer(tmp_path).write(RESULT)
    Writer(tmp_path).write(RESULT)
    assert [next(iter(o.log(tmp_path, n)))["commitInfo"]["inCommitTimestamp"] for n in (1, 2)] == [far + 1, far + 2]


def test_a_log_after_a_checkpoint_keeps_its_metadata_when_columns_are_added(tmp_path: Path) -> None:
    write_deltalake(
        tmp_path,
        OLD.to_arrow(),
        partition_by=["day"],
        name="orders",
        configuration={"delta.logRetentionDuration": "interval 9 days"},
    )
    DeltaTable(tmp_path).create_checkpoint()
    Writer(tmp_path, by=["day"], widen=True).write(RESULT.with_columns(more=pl.lit(1.5)))
    found = DeltaTable(tmp_path).metadata()
    assert (found.name, found.configuration) == ("orders", {"delta.logRetentionDuration": "interval 9 days"})
    assert sorted(o.read(tmp_path)["more"].to_pylist(), key=str) == [1.5, 1.5, None, None, None]
    assert o.read(tmp_path).schema.field("more").type == pa.float64()
