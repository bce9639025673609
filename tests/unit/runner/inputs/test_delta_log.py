"""The log of a Delta table: every way in which one version can lie there, and what is said where it does not."""

import json
import os
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables import delta
from gpuquery.runner.stores.posix import Posix
from tests.support import delta_tables as d

FIELDS = [d.field("v", "long")]
HEAD = [d.protocol(), d.metadata(FIELDS)]


def item(path, **which):
    return Input.model_validate({"name": "t", "uri": f"file://{path}", "delta": which})


def resolved(path, pinned="", **which):
    return delta.resolve(item(path, **which), StoreAccess(), pinned)


def values(path, pinned="", **which):
    found = resolved(path, pinned, **which)
    return sorted(found.frame(StoreAccess()).collect()["v"].to_list())


def refusal(path, pinned="", **which):
    with pytest.raises(JobError) as caught:
        resolved(path, pinned, **which)
    assert caught.value.failure is Failure.INVALID_INPUT
    assert caught.value.message.startswith(f'input "t": Delta table file://{path}')
    return caught.value.message


def added(path, number):
    return d.add(path, f"{number}.parquet", pa.table({"v": [number]}))


def grown(path, versions):
    """A table to which each version adds one row, its number."""
    for version in range(versions):
        d.commit(path, version, *(HEAD if version == 0 else ()), added(path, version))


def state(path, version):
    """The actions of a checkpoint of that table."""
    return [*HEAD, *(added(path, one) for one in range(version + 1))]


def drop_commits(path, before):
    for version in range(before):
        (path / "_delta_log" / f"{version:020d}.json").unlink()


def at(path, version, moment):
    seconds = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    os.utime(path / "_delta_log" / f"{version:020d}.json", (seconds, seconds))


def test_files_that_were_removed_are_not_read(tmp_path):
    grown(tmp_path, 3)
    d.commit(tmp_path, 3, d.remove("1.parquet"))
    assert values(tmp_path) == [0, 2]
    assert resolved(tmp_path).snapshot == f"delta:{d.ID}@3"


def test_a_file_that_is_added_again_is_there(tmp_path):
    grown(tmp_path, 2)
    d.commit(tmp_path, 2, d.remove("1.parquet"))
    d.commit(tmp_path, 3, added(tmp_path, 1))
    assert values(tmp_path) == [0, 1]


def test_an_older_version_is_read_by_its_number_and_by_the_snapshot_of_an_earlier_attempt(tmp_path):
    grown(tmp_path, 4)
    assert values(tmp_path, version=1) == [0, 1]
    pinned = resolved(tmp_path, version=2).snapshot
    assert values(tmp_path, pinned) == [0, 1, 2]


def test_a_table_that_was_made_anew_is_not_taken_for_the_one_that_an_earlier_attempt_has_read(tmp_path):
    grown(tmp_path, 1)
    assert "in its place" in refusal(tmp_path, "delta:another@0")


@pytest.mark.parametrize("keep", [True, False], ids=["with all commits", "after old commits were removed"])
@pytest.mark.parametrize("kind", ["classic", "multi-part", "v2 parquet", "v2 json", "classic with sidecars"])
def test_checkpoints_of_every_kind_are_read(tmp_path, kind, keep):
    grown(tmp_path, 6)
    log, name = tmp_path / "_delta_log", f"{3:020d}.checkpoint"
    head, files = state(tmp_path, 3)[:2], state(tmp_path, 3)[2:]
    if kind == "classic":
        d.checkpoint(
            log / f"{name}.parquet", [*head, *files, d.remove("9.parquet"), {"txn": {"appId": "a", "version": 1}}]
        )
    elif kind == "multi-part":
        for part, actions in enumerate(([*head, files[0]], files[1:]), 1):
            d.checkpoint(log / f"{name}.{part:010d}.{2:010d}.parquet", actions)
    else:
        sidecars = []
        for number, half in enumerate((files[:2], files[2:])):
            sidecar = d.checkpoint(log / "_sidecars" / f"s{number}.parquet", half)
            sidecars.append({"sidecar": {"path": sidecar.name, "sizeInBytes": 1, "modificationTime": 0}})
        uuid = "80a083e8-7026-4e79-81be-64bd76c43a11"
        if kind == "v2 json":
            lines = [*head, {"checkpointMetadata": {"version": 3}}, *sidecars]
            (log / f"{name}.{uuid}.json").write_text("\n".join(map(json.dumps, lines)))
        else:
            d.checkpoint(log / (f"{name}.{uuid}.parquet" if "v2" in kind else f"{name}.parquet"), [*head, *sidecars])
    if not keep:
        drop_commits(tmp_path, 4)
    assert values(tmp_path) == [0, 1, 2, 3, 4, 5]
    assert values(tmp_path, version=3) == [0, 1, 2, 3]
    if keep:
        assert values(tmp_path, version=2) == [0, 1, 2]
    else:
        assert "there is no version 2: versions 3 to 5 can be read" in refusal(tmp_path, version=2)


def test_a_multi_part_checkpoint_without_one_of_its_parts_does_not_count(tmp_path):
    grown(tmp_path, 4)
    d.checkpoint(tmp_path / "_delta_log" / f"{3:020d}.checkpoint.{1:010d}.{2:010d}.parquet", HEAD)
    assert values(tmp_path) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "hint",
    [
        pytest.param('{"version": 2, "size": 5}', id="true"),
        pytest.param('{"version": 9}', id="of a checkpoint that is not there"),
        pytest.param('{"version": "x', id="cut"),
        pytest.param("[]", id="of another form"),
    ],
)
def test_the_hint_to_the_last_checkpoint_is_never_more_than_a_hint(tmp_path, hint):
    grown(tmp_path, 5)
    d.checkpoint(tmp_path / "_delta_log" / f"{2:020d}.checkpoint.parquet", state(tmp_path, 2))
    (tmp_path / "_delta_log" / "_last_checkpoint").write_text(hint)
    assert values(tmp_path) == [0, 1, 2, 3, 4]
    assert values(tmp_path, version=1) == [0, 1]
    assert "versions 0 to 4" in refusal(tmp_path, version=12)


def test_compacted_commits_stand_for_those_that_they_hold(tmp_path):
    grown(tmp_path, 5)
    d.commit(tmp_path, 5, d.remove("1.parquet"))
    actions = [added(tmp_path, 2), added(tmp_path, 3), added(tmp_path, 4), d.remove("1.parquet")]
    compacted = tmp_path / "_delta_log" / f"{2:020d}.{5:020d}.compacted.json"
    compacted.write_text("\n".join(map(json.dumps, actions)))
    for version in (2, 3):
        (tmp_path / "_delta_log" / f"{version:020d}.json").unlink()
    assert values(tmp_path) == [0, 2, 3, 4]
    assert values(tmp_path, version=1) == [0, 1]


def test_the_log_of_a_store_that_is_only_read_is_read_alike(tmp_path, monkeypatch):
    def unwritten(*args, **more):
        raise JobError(Failure.INVALID_PLAN, "other stores are only read")

    monkeypatch.setattr(Posix, "table", unwritten)
    grown(tmp_path, 4)
    d.checkpoint(tmp_path / "_delta_log" / f"{2:020d}.checkpoint.parquet", state(tmp_path, 2))
    (tmp_path / "_delta_log" / "_last_checkpoint").write_text('{"version": 2}')
    drop_commits(tmp_path, 2)
    assert values(tmp_path) == [0, 1, 2, 3]
    assert values(tmp_path, version=2) == [0, 1, 2]
    at(tmp_path, 2, "2026-01-01T00:00:00")
    assert values(tmp_path, timestamp="2026-01-01") == [0, 1, 2]
    assert "there is no version 1" in refusal(tmp_path, version=1)
    assert "there is nothing in" in refusal(tmp_path / "nowhere")


def test_files_that_are_not_of_the_log_are_passed_over(tmp_path):
    grown(tmp_path, 2)
    log = tmp_path / "_delta_log"
    for name in ("00000000000000000001.crc", "_commits/x.json", "00000000000000000009.json.tmp", ".s.json", "x.json"):
        (log / name).parent.mkdir(exist_ok=True)
        (log / name).write_text("no JSON")
    assert values(tmp_path) == [0, 1]


def test_paths_are_percent_decoded_once(tmp_path):
    names = ["c%20d.parquet", "a b.parquet", "k=ä%2Fb/x?y#z.parquet"]
    adds = [d.add(tmp_path, name, pa.table({"v": [at]})) for at, name in enumerate(names)]
    assert adds[0]["add"]["path"] == "c%2520d.parquet"
    d.commit(tmp_path, 0, *HEAD, *adds)
    assert values(tmp_path) == [0, 1, 2]


@pytest.mark.parametrize("scheme", ["file://", "file:", ""])
def test_files_of_a_shallow_clone_are_read_where_they_are(tmp_path, scheme):
    source, clone = tmp_path / "a source", tmp_path / "clone"
    grown(source, 1)
    action = added(source, 0)
    action["add"]["path"] = f"{scheme}{source}/0.parquet".replace(" ", "%20")
    d.commit(clone, 0, *HEAD, action, d.add(clone, "7.parquet", pa.table({"v": [7]})))
    assert values(clone) == [0, 7]


def test_a_file_in_an_unknown_store_is_refused(tmp_path):
    action = {"add": {"path": "hdfs://there/x.parquet", "size": 1, "partitionValues": {}}}
    d.commit(tmp_path, 0, *HEAD, action)
    assert "hdfs://there/x.parquet" in refusal(tmp_path)


MOMENTS = [
    ("2026-01-01T00:00:00Z", [0]),
    ("2026-01-01T23:59:59.999999Z", [0]),
    ("2026-01-02", [0, 1]),
    ("2026-01-02 00:00:00", [0, 1]),
    ("2026-01-02T01:00:00+01:00", [0, 1]),
    ("2026-01-02T00:30:00+01:00", [0]),
    ("2030-01-01T00:00:00Z", [0, 1, 2]),
]


@pytest.mark.parametrize(("moment", "want"), MOMENTS)
def test_a_moment_means_the_newest_version_committed_at_or_before_it(tmp_path, moment, want):
    grown(tmp_path, 3)
    for version in range(3):
        at(tmp_path, version, f"2026-01-0{version + 1}T00:00:00")
    assert values(tmp_path, timestamp=moment) == want


def test_commits_whose_files_were_copied_at_one_moment_keep_their_order(tmp_path):
    grown(tmp_path, 3)
    for version in range(3):
        at(tmp_path, version, "2026-01-01T00:00:00")
    assert values(tmp_path, timestamp="2026-01-01T00:00:00Z") == [0]
    assert values(tmp_path, timestamp="2026-01-01T00:00:00.001Z") == [0, 1]
    assert values(tmp_path, timestamp="2026-01-01T00:00:00.002Z") == [0, 1, 2]


def test_in_commit_timestamps_count_from_the_version_on_that_has_them(tmp_path):
    told = {"delta.enableInCommitTimestamps": "true", "delta.inCommitTimestampEnablementVersion": "2"}
    grown(tmp_path, 2)
    for version in (2, 3, 4):
        moment = int(datetime(2026, 1, version, tzinfo=UTC).timestamp() * 1000)
        head = [d.metadata(FIELDS, **told)] if version == 2 else []
        d.commit(tmp_path, version, {"commitInfo": {"inCommitTimestamp": moment}}, *head, added(tmp_path, version))
    for version in range(5):
        at(tmp_path, version, f"2025-12-0{version + 1}T00:00:00")
    assert values(tmp_path, timestamp="2026-01-03T12:00:00Z") == [0, 1, 2, 3]
    assert values(tmp_path, timestamp="2026-01-01T12:00:00Z") == [0, 1]
    assert values(tmp_path, timestamp="2025-12-01T12:00:00Z") == [0]
    assert "version 0 of 2025-12-01T00:00:00Z" in refusal(tmp_path, timestamp="2025-11-01")


@pytest.mark.parametrize(
    "moment", ["yesterday!", "2026-13-01T00:00:00Z", "2026-01-01T25:00Z", "01.02.2026", "2026-W01-1"]
)
def test_what_is_no_moment_is_refused(tmp_path, moment):
    grown(tmp_path, 1)
    assert f'"{moment}" is no moment' in refusal(tmp_path, timestamp=moment)


def test_a_moment_is_refused_where_no_commit_tells_a_time(tmp_path):
    grown(tmp_path, 2)
    d.checkpoint(tmp_path / "_delta_log" / f"{1:020d}.checkpoint.parquet", state(tmp_path, 1))
    drop_commits(tmp_path, 2)
    assert values(tmp_path) == [0, 1]
    assert "set delta.version" in refusal(tmp_path, timestamp="2026-01-01")


def test_a_moment_before_the_first_version_is_refused_with_that_version(tmp_path):
    grown(tmp_path, 2)
    at(tmp_path, 0, "2026-01-02T03:04:05")
    assert "the oldest that can be read is version 0 of 2026-01-02T03:04:05Z" in refusal(
        tmp_path, timestamp="2025-01-01"
    )


def test_what_is_no_delta_table_is_refused_with_what_is_there(tmp_path):
    assert "there is nothing in" in refusal(tmp_path / "nowhere")
    (tmp_path / "x.parquet").write_bytes(b"")
    assert "it is no Delta table, for it has no folder _delta_log/; there is x.parquet" in refusal(tmp_path)
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "v1.metadata.json").write_text("{}")
    assert "Iceberg" in refusal(tmp_path)
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / "x").write_text("")
    assert "neither a commit nor a complete checkpoint" in refusal(tmp_path)


def test_a_version_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    grown(tmp_path, 3)
    assert "there is no version 3: versions 0 to 2 can be read" in refusal(tmp_path, version=3)


def test_a_gap_in_the_log_is_named(tmp_path):
    grown(tmp_path, 4)
    (tmp_path / "_delta_log" / f"{2:020d}.json").unlink()
    told = refusal(tmp_path)
    assert f"_delta_log/{2:020d}.json is missing" in told
    assert "read version 1" in told
    assert values(tmp_path, version=1) == [0, 1]


def test_a_log_without_its_beginning_is_refused(tmp_path):
    grown(tmp_path, 4)
    drop_commits(tmp_path, 2)
    assert "its log begins with version 2" in refusal(tmp_path)


def test_a_broken_line_is_named_with_its_file(tmp_path):
    grown(tmp_path, 2)
    d.commit(tmp_path, 2, added(tmp_path, 2)).open("a").write('{"add": {"path": "x')
    assert f"line 2 of file://{tmp_path}/_delta_log/{2:020d}.json" in refusal(tmp_path)


@pytest.mark.parametrize("line", ['{"add": {"size": 1}}', '{"add": 3}', '{"metaData": [1]}', '{"remove": {}}'])
def test_an_action_of_another_form_is_named(tmp_path, line):
    grown(tmp_path, 1)
    d.commit(tmp_path, 1).write_text(line)
    assert f"_delta_log/{1:020d}.json" in refusal(tmp_path)


def test_a_broken_checkpoint_is_named(tmp_path):
    grown(tmp_path, 3)
    (tmp_path / "_delta_log" / f"{1:020d}.checkpoint.parquet").write_bytes(b"PAR1 and no more")
    assert f"{1:020d}.checkpoint.parquet cannot be read" in refusal(tmp_path)


def test_a_log_without_metadata_is_refused(tmp_path):
    d.commit(tmp_path, 0, added(tmp_path, 0))
    assert "no protocol and no metaData" in refusal(tmp_path)


def test_a_table_without_files_has_its_columns(tmp_path):
    d.commit(tmp_path, 0, *HEAD)
    found = resolved(tmp_path)
    assert found.frame(StoreAccess()).collect().schema == found.schema
    assert list(found.schema) == ["v"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_log_that_may_not_be_read_is_a_matter_of_rights(tmp_path):
    grown(tmp_path, 1)
    (tmp_path / "_delta_log" / f"{0:020d}.json").chmod(0)
    with pytest.raises(JobError) as caught:
        resolved(tmp_path)
    assert caught.value.failure is Failure.STORAGE_AUTH
