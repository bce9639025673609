"""What is believed of a table's log: orders that reach out of the table, or speak for somebody else, are no records."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure, Policy
from gpuquery.plan.plan import JobRef, StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import commit, genuine
from gpuquery.runner.output.commit import Committer, Result
from gpuquery.runner.output.log import Log
from gpuquery.runner.output.record import Column
from gpuquery.runner.stores.base import DATA
from gpuquery.runner.stores.posix import PosixStore
from gpuquery.runner.stores.s3 import table as s3_table
from tests.support import sinks
from tests.support.examples import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

UID = "7b1e44d0-1111-4222-8333-abcdefabcdef"
ME = JobRef(namespace="ns", name="job", uid="0a1b2c3d-1111-4222-8333-abcdefabcdef")
PART = "part-7b1e44d0-1-00000-00000.parquet"
STAGED = f"_staging/{UID}/1"

GOLDEN = (
    # Written by the runner of 0.1.0 before records were checked, but for the times.
    '{"format":1,"version":1,"job":{"namespace":"ns","name":"job","uid":"3f0d2c1a-9e5b-4c77-8a11-0123456789ab"},'
    '"attempt":1,"mode":"errorIfExists","add":[{"path":"part-3f0d2c1a-1-00000-00000.parquet","uploadId":"_staging/'
    '3f0d2c1a-9e5b-4c77-8a11-0123456789ab/1/part-3f0d2c1a-1-00000-00000.parquet.35583acb.tmp","pieces":["316"],'
    '"bytes":316,"rows":0,"values":{}}],"remove":[],"columns":[{"name":"k","type":"String"},{"name":"v","type":'
    '"Int64"}],"partitionBy":[],"placeholder":"part-3f0d2c1a-1-00000-00000.parquet","rows":0,"bytes":316,"created":'
    '"2026-11-29T19:13:17.339040Z"}',
    '{"format":1,"version":2,"job":{"namespace":"ns","name":"job","uid":"7b1e44d0-1111-4222-8333-abcdefabcdef"},'
    '"attempt":1,"mode":"overwrite","add":[{"path":"k=a%2Fb/part-7b1e44d0-1-00000-00000.parquet","uploadId":"_staging/'
    '7b1e44d0-1111-4222-8333-abcdefabcdef/1/part-7b1e44d0-1-00000-00000.parquet.937b94b9.tmp","pieces":["498"],'
    '"bytes":498,"rows":1,"values":{"k":"a/b"}},{"path":"k=__HIVE_DEFAULT_PARTITION__/part-7b1e44d0-1-00000-00001.'
    'parquet","uploadId":"_staging/7b1e44d0-1111-4222-8333-abcdefabcdef/1/part-7b1e44d0-1-00000-00001.parquet.5a5e2d26'
    '.tmp","pieces":["498"],"bytes":498,"rows":1,"values":{"k":null}},{"path":"k=/part-7b1e44d0-1-00000-00002.parquet",'
    '"uploadId":"_staging/7b1e44d0-1111-4222-8333-abcdefabcdef/1/part-7b1e44d0-1-00000-00002.parquet.351615be.tmp",'
    '"pieces":["498"],"bytes":498,"rows":1,"values":{"k":""}}],"remove":["part-3f0d2c1a-1-00000-00000.parquet"],'
    '"columns":[{"name":"k","type":"String"},{"name":"v","type":"Int64"}],"partitionBy":["k"],"placeholder":null,'
    '"rows":3,"bytes":1494,"created":"2026-11-29T19:13:17.422996Z"}',
    '{"format":1,"version":3,"job":{"namespace":"ns","name":"job","uid":"9c1e44d0-1111-4222-8333-abcdefabcdef"},'
    '"attempt":1,"mode":"fence","add":[],"remove":[],"columns":[],"partitionBy":[],"placeholder":null,"rows":0,"bytes":'
    '0,"created":"2026-11-29T19:13:17.479234Z"}',
    '{"format":1,"version":4,"job":{"namespace":"","name":"","uid":"9c1e44d0"},"attempt":7,"mode":"fence","add":[],'
    '"remove":[],"columns":[],"partitionBy":[],"placeholder":null,"rows":0,"bytes":0,"created":"2026-11-29T19:13:17Z"}',
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "PUBLISH_PATIENCE", 0.0)
    monkeypatch.setattr(commit, "LISTING_PATIENCE", 0.0)


def posix(root: Path) -> PosixStore:
    return PosixStore(str(root), f"_staging/{ME.uid}/1")


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_record_that_the_version_before_wrote_is_believed(version: int, tmp_path: Path) -> None:
    body = GOLDEN[version - 1].encode()
    record = genuine.read_record("key", body, version, posix(tmp_path).can_be)
    assert record.model_dump_json().encode().startswith(body[:80])


@pytest.mark.parametrize("uid", ["my run/1 ü", "_night", "x" * 200])
def test_a_commit_whose_uid_only_the_version_before_took_is_published_and_stays(
    uid: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "table"
    with monkeypatch.context() as before:
        before.setattr(genuine, "_UID", re.compile(".+"))
        sinks.run(sinks.plan(f"file://{place}", uid=uid), pl.LazyFrame({"v": [1]}))
    for marker in (place / "_commits").glob("*.done"):
        marker.unlink()
    append(place)
    assert sorted(pl.read_parquet(place / "data")["v"]) == [1, 2]


@pytest.mark.parametrize("uid", ["my run/1 ü", "_night", "x" * 200, ".."])
def test_a_run_that_calls_itself_so_writes_nothing(uid: str, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="is no identity of a run"):
        sinks.run(sinks.plan(f"file://{tmp_path}/table", uid=uid), pl.LazyFrame({"v": [1]}))
    assert list(tmp_path.iterdir()) == []


def forged(**changes: Any) -> dict[str, Any]:
    """Version 2 of a table, as a runner would have written it but for the changes: `add__0__path` is a field."""
    record: dict[str, Any] = {
        "format": 1, "version": 2, "job": {"namespace": "ns", "name": "other", "uid": UID}, "attempt": 1,
        "mode": "append", "add": [{"path": PART, "uploadId": f"{STAGED}/{PART}.0a0b0c0d.tmp", "pieces": ["4"],
        "bytes": 4, "rows": 1, "values": {}}], "remove": [], "columns": [{"name": "v", "type": "Int64"}],
        "partitionBy": [], "placeholder": None, "rows": 1, "bytes": 4, "created": "2026-11-29T19:13:17Z",
    }  # fmt: skip
    for name, value in changes.items():
        *path, last = [int(part) if part.isdigit() else part for part in name.split("__")]
        place: Any = record
        for part in path:
            place = place[part]
        place[last] = value
    return record


def table(root: Path) -> Path:
    """A table of one version, and a stranger's file beside it."""
    made = sinks.plan(f"file://{root}/shared/table", uid="11111111-1111-4222-8333-abcdefabcdef")
    sinks.run(made, pl.LazyFrame({"v": [1]}))
    victim = root / "victim"
    victim.mkdir()
    (victim / "thesis.txt").write_text("ten years")
    (victim / "id_rsa").write_text("private key")
    (victim / PART).write_text("theirs")
    return root / "shared/table"


def put(place: Path, record: Mapping[str, Any] | bytes, name: str = "00000000000000000002.json") -> None:
    body = record if isinstance(record, bytes) else json.dumps(record).encode()
    (place / "_commits" / name).write_bytes(body)


def everything(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
        if "_staging" not in path.parts
    }


def append(place: Path) -> None:
    """An ordinary job of a victim appends a row."""
    sinks.run(sinks.plan(f"file://{place}", uid=ME.uid, mode="append"), pl.LazyFrame({"v": [2]}))


OUT = "../../../victim"
FIELDS = [
    pytest.param({"remove": [f"{OUT}/thesis.txt"]}, "remove[0]", id="deletes a file outside of the table"),
    pytest.param({"remove": [f"{OUT}/{PART}"]}, "remove[0]", id="deletes a part file outside of the table"),
    pytest.param({"remove": [f"k=1/{OUT}/{PART}"]}, "remove[0]", id="climbs out of a partition"),
    pytest.param({"remove": [f"/victim/{PART}"]}, "remove[0]", id="has an absolute path"),
    pytest.param({"remove": ["../_commits/00000000000000000001.json"]}, "remove[0]", id="deletes a record"),
    pytest.param({"remove": ["thesis.txt"]}, "remove[0]", id="deletes what no runner has written"),
    pytest.param({"remove": [""]}, "remove[0]", id="deletes nothing by name"),
    pytest.param({"remove": [f"k=1//{PART}"]}, "remove[0]", id="has an empty folder"),
    pytest.param({"remove": [f"k=1/./{PART}"]}, "remove[0]", id="has a folder that is none"),
    pytest.param({"remove": [f"k=\\1/{PART}"]}, "remove[0]", id="has a backslash"),
    pytest.param({"remove": [f"k=\0/{PART}"]}, "remove[0]", id="has a NUL"),
    pytest.param({"remove": [f"plain/{PART}"]}, "remove[0]", id="has a folder without a column"),
    pytest.param({"remove": ["x" * 5000]}, "remove.0", id="has a path that no store holds"),
    pytest.param({"add__0__path": "stolen.parquet"}, "add[0].path", id="adds a file that is no part"),
    pytest.param({"add__0__path": f"{OUT}/{PART}"}, "add[0].path", id="writes outside of the table"),
    pytest.param({"add__0__path": PART.replace("7b1e44d0", "11111111")}, "add[0].path", id="adds another job's file"),
    pytest.param({"add__0__path": PART.replace("-1-", "-2-")}, "add[0].path", id="adds another attempt's file"),
    pytest.param({"add__0__uploadId": "../../victim/id_rsa"}, "add[0].uploadId", id="moves a stranger's file"),
    pytest.param({"add__0__uploadId": f"{STAGED}/../../../../../victim/{PART}.0a0b0c0d.tmp"}, "add[0].uploadId",
                 id="climbs out of the staging folder"),
    pytest.param({"add__0__uploadId": f"data/{PART}"}, "add[0].uploadId", id="moves a file of the table"),
    pytest.param({"add__0__uploadId": f"_staging/{UID}/2/{PART}.0a0b0c0d.tmp"}, "add[0].uploadId",
                 id="completes an upload of another attempt"),
    pytest.param({"add__0__uploadId": f"_staging/{ME.uid}/1/{PART}.0a0b0c0d.tmp"}, "add[0].uploadId",
                 id="completes an upload of another job"),
    pytest.param({"add__0__uploadId": ""}, "uploadId", id="completes no upload"),
    pytest.param({"add__0__pieces": []}, "pieces", id="completes an upload of nothing"),
    pytest.param({"add__0__pieces": ["1"] * 10_001}, "pieces", id="has more pieces than a store takes"),
    pytest.param({"add__0__rows": -1}, "rows", id="has less than no rows"),
    pytest.param({"rows": 10**30}, "rows", id="has more rows than fit into a number"),
    pytest.param({"rows": 999}, "rows", id="has other rows than its files"),
    pytest.param({"bytes": 5}, "bytes", id="has other bytes than its files"),
    pytest.param({"placeholder": f"{OUT}/{PART}"}, "placeholder", id="has the next one delete a file outside"),
    pytest.param({"version": 1}, "version", id="is another version than its name says"),
    pytest.param({"version": 10**30}, "version", id="has a version that no table reaches"),
    pytest.param({"job__uid": ".."}, "job.uid", id="has a UID that is a folder"),
    pytest.param({"job__uid": "a/../../b"}, "job.uid", id="has a UID that climbs out of the staging folder"),
    pytest.param({"job__uid": ""}, "job.uid", id="has no UID"),
    pytest.param({"job__uid": "x" * 2000}, "job.uid", id="has a UID that no store holds"),
    pytest.param({"job__name": "x" * 300}, "job.name", id="has a name that no object has"),
    pytest.param({"attempt": 0}, "attempt", id="is of an attempt that never was"),
    pytest.param({"attempt": 10**12}, "attempt", id="is of an attempt that nobody reaches"),
    pytest.param({"mode": "merge"}, "mode", id="has a mode that this runner does not know"),
    pytest.param({"format": 3}, "format", id="has a format that this runner does not know"),
    pytest.param({"mode": "rollback"}, "add", id="is a rollback that adds files"),
    pytest.param({"mode": "rollback", "add": [], "rows": 0, "bytes": 0, "restores": 2}, "restores",
                 id="is a rollback to itself"),
    pytest.param({"mode": "fence"}, "add", id="is a fence that changes data"),
    pytest.param({"add": 7}, "add", id="has a number for its files"),
    pytest.param({"created": "soon"}, "created", id="has no time"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "field"), FIELDS)
def test_a_record_is_refused_with_its_name_and_field_and_nothing_is_touched_if_it(
    changes: Mapping[str, Any], field: str, tmp_path: Path
) -> None:
    place = table(tmp_path)
    put(place, forged(**changes))
    before = everything(tmp_path)
    with pytest.raises(JobError) as caught:
        append(place)
    assert caught.value.failure is Failure.UNSAFE_STORE and caught.value.failure.policy is Policy.NEVER
    message = caught.value.message
    assert message.startswith("_commits/00000000000000000002.json is not what a GpuQuery runner writes")
    assert f"{field} is " in message.replace("add.0.", "").replace("columns.0.", "") and "delete it" in message
    assert everything(tmp_path) == before
    assert len(message) < 1200, "the report may hold no more"


def test_a_record_that_only_damages_its_own_table_is_carried_out(tmp_path: Path) -> None:
    """The other side of the table above: what it changes is otherwise right."""
    place = table(tmp_path)
    staged = place / STAGED
    staged.mkdir(parents=True)
    (staged / f"{PART}.0a0b0c0d.tmp").write_text("data")
    put(place, forged())
    append(place)
    assert (place / DATA / PART).read_text() == "data"


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"null", b'{"format":1}', b'{"a":' * 500, b'{"version":1e400}', b"NaN"],
    ids=["empty", "no text", "a list", "nothing", "half", "deep", "infinite", "no JSON"],
)
def test_what_is_no_record_at_all_is_refused_with_its_name(body: bytes, tmp_path: Path) -> None:
    place = table(tmp_path)
    put(place, body)
    with pytest.raises(JobError, match=r"_commits/00000000000000000002\.json") as caught:
        append(place)
    assert caught.value.failure is Failure.UNSAFE_STORE


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("99999999999999999999.json", "not a number from 1", id="a version beyond all"),
        pytest.param("00000000000000000000.json", "not a number from 1", id="version nought"),
        pytest.param(f"00000000000000000002.append.1.{ME.uid}.done", "it is missing, but a marker", id="no record"),
        pytest.param(f"00000000000000000001.append.9.{ME.uid}.done", "by another name", id="two markers"),
    ],
)
def test_a_name_in_the_log_that_no_runner_writes_is_refused(name: str, says: str, tmp_path: Path) -> None:
    place = table(tmp_path)
    put(place, b"", name)
    with pytest.raises(JobError, match=says) as caught:
        append(place)
    assert caught.value.failure is Failure.UNSAFE_STORE


@pytest.mark.parametrize("name", ["notes.txt", "2.json", "00000000000000000002.done", "٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٢.json"])
def test_other_objects_beside_the_log_are_passed_over(name: str, tmp_path: Path) -> None:
    place = table(tmp_path)
    put(place, b"x", name)
    append(place)


def test_a_marker_that_tells_another_job_than_its_record_is_refused(tmp_path: Path) -> None:
    place = table(tmp_path)
    first = next((place / "_commits").glob("*.done"))
    first.rename(first.with_name(f"00000000000000000001.errorIfExists.1.{ME.uid}.done"))
    with pytest.raises(JobError, match=r"job.uid is '0a1b2c3d") as caught:
        append(place)
    assert caught.value.failure is Failure.UNSAFE_STORE


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"job__name": "x"}, "job.name", id="another name"),
        pytest.param({"job__namespace": "x"}, "job.namespace", id="another namespace"),
        pytest.param({"attempt": 5, "add": [], "rows": 0, "bytes": 0}, "attempt", id="an attempt that never was"),
    ],
)
def test_a_record_with_my_uid_that_is_not_mine_is_no_commit_of_mine(
    changes: Mapping[str, Any], field: str, tmp_path: Path
) -> None:
    place = table(tmp_path)
    part = PART.replace("7b1e44d0", "0a1b2c3d")
    mine = {
        "job": {"namespace": "ns", "name": "job", "uid": ME.uid}, "add__0__path": part,
        "add__0__uploadId": f"_staging/{ME.uid}/1/{part}.0a0b0c0d.tmp",
    }  # fmt: skip
    record = forged(**mine, **changes)
    put(place, record)
    put(place, b"", f"00000000000000000002.append.{record['attempt']}.{ME.uid}.done")
    with pytest.raises(JobError) as caught:
        append(place)
    assert caught.value.failure is Failure.UNSAFE_STORE and f"{field} is " in caught.value.message


# Shapes that a stranger may try: pieces of paths in any order, in all fields that name something.
PIECES = st.sampled_from(
    ["..", ".", "", "victim", "thesis.txt", "id_rsa", PART, "k=1", "data", "_staging", "_commits", UID, "1", "~",
     f"{PART}.0a0b0c0d.tmp", "00000000000000000001.json", "\\", "\0", "link", "a" * 300],
)  # fmt: skip
PATHS = st.lists(PIECES, min_size=1, max_size=7).map("/".join) | st.builds("/{}".format, st.text(max_size=20))
STAGED_FILES = st.fixed_dictionaries(
    {
        "path": PATHS, "uploadId": PATHS, "pieces": st.lists(st.text(max_size=3), max_size=2),
        "bytes": st.integers(-1, 5), "rows": st.integers(-1, 5), "values": st.just({}),
    }
)  # fmt: skip
RECORDS = st.fixed_dictionaries(
    {
        "format": st.just(1), "version": st.sampled_from([2, 2, 2, 1]),
        "job": st.fixed_dictionaries({"namespace": st.just("ns"), "name": st.just("n"), "uid": st.just(UID) | PATHS}),
        "attempt": st.sampled_from([1, 1, 0, 10**20]),
        "mode": st.sampled_from(["append", "overwrite", "fence"]),
        "add": st.lists(STAGED_FILES, max_size=2), "remove": st.lists(PATHS, max_size=3),
        "columns": st.just([{"name": "v", "type": "Int64"}]), "partitionBy": st.just([]),
        "placeholder": st.none() | PATHS, "created": st.just("2026-11-29T19:13:17Z"),
    }
)  # fmt: skip


@settings(examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=RECORDS, link=st.booleans())
def test_whatever_a_forged_record_says_nothing_outside_of_the_table_is_touched(
    record: dict[str, Any], link: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("forged")
    place, victim = root / "shared/table", root / "victim"
    for folder in (victim, place / "_commits", place / "data/k=1", place / STAGED):
        folder.mkdir(parents=True)
    for name in ("thesis.txt", "id_rsa", PART, f"{PART}.0a0b0c0d.tmp"):
        (victim / name).write_text("theirs")
    if link:
        (place / "data/link").symlink_to(victim)
        (place / "data/k=2").symlink_to(victim)
        (place / "_staging" / "link").symlink_to(victim)
    sums = {name: sum(file[name] for file in record["add"]) for name in ("rows", "bytes")}
    put(place, {**record, **sums})
    before = everything(victim)
    committer = Committer(posix(place), ME, 1, OutputMode.APPEND)
    with contextlib.suppress(JobError):
        committer.commit(Result((), [Column(name="v", type="Int64")]))
    assert everything(victim) == before
    assert {path.name for path in root.iterdir()} == {"shared", "victim"}
    assert {path.name for path in place.parent.iterdir()} == {"table"}


@pytest.mark.parametrize("key", ["../x", "data/../../x", "/etc/passwd", "data//x", "./x", "data/..", "a\0b", ""])
def test_a_store_takes_no_key_that_may_lead_out_of_its_folder(key: str, tmp_path: Path) -> None:
    place = stores.locate("s3://bucket/tenant-a/table")
    remote = s3_table.S3Store(place, StoreAccess(endpoint="http://127.0.0.1:9", region="x"), hurried=True)
    for store in (posix(tmp_path / "table"), remote):
        acts: list[Callable[[], object]] = [
            lambda s=store: s.get(key), lambda s=store: s.put(key, b""), lambda s=store: s.create(key, b""),
            lambda s=store: s.size(key), lambda s=store: s.delete([key]), lambda s=store: s.complete(key, key, ["1"]),
            lambda s=store: s.abort(key, key), lambda s=store: list(s.list(f"{key}/")),
        ]  # fmt: skip
        for act in acts:
            with pytest.raises(JobError) as caught:
                act()
            assert caught.value.failure is Failure.UNSAFE_STORE
    assert list(tmp_path.iterdir()) == []


LINKED = ["data", "data/k=1", "_commits", "_staging"]


@pytest.mark.parametrize("folder", LINKED)
def test_a_folder_of_the_table_that_is_a_link_is_not_followed(folder: str, tmp_path: Path) -> None:
    victim, root = tmp_path / "victim", tmp_path / "table"
    victim.mkdir()
    (victim / PART).write_text("theirs")
    (root / folder).parent.mkdir(parents=True)
    (root / folder).symlink_to(victim)
    store, key = posix(root), f"{folder}/{PART}"
    for act in (
        lambda: store.get(key), lambda: store.put(key, b"x"), lambda: store.create(key, b"x"),
        lambda: store.delete([key]), lambda: store.complete(f"{folder}/new", key, ["1"]),
        lambda: store.abort("x", key),
    ):  # fmt: skip
        with pytest.raises(JobError, match="is a symbolic link") as caught:
            act()
        assert caught.value.failure is Failure.UNSAFE_STORE
    assert everything(victim) == {PART: b"theirs"}


def test_a_folder_that_becomes_a_link_between_look_and_use_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, root = tmp_path / "victim", tmp_path / "table"
    victim.mkdir()
    (victim / PART).write_text("theirs")
    (root / "data").mkdir(parents=True)
    usual, swapped = os.open, []

    def swap(path: Any, *arguments: Any, **how: Any) -> int:
        if path == "data" and not swapped:
            swapped.append(path)
            (root / "data").rmdir()
            (root / "data").symlink_to(victim)
        return usual(path, *arguments, **how)

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(JobError):
        posix(root).delete([f"data/{PART}"])
    assert swapped and everything(victim) == {PART: b"theirs"}


def test_the_tables_own_folder_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "lake").symlink_to(tmp_path / "disk")
    sinks.run(sinks.plan(f"file://{tmp_path}/lake/table"), pl.LazyFrame({"v": [1]}))
    assert list((tmp_path / "disk/table/data").iterdir())


def in_place_of_a_record(kind: str, place: Path) -> None:
    path = place / "_commits/00000000000000000002.json"
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to("nowhere")}[kind]()


KINDS = ["folder", "pipe", "link"]


@pytest.mark.parametrize("kind", KINDS)
def test_something_in_place_of_a_record_that_is_no_file_holds_nobody_for_ever(kind: str, tmp_path: Path) -> None:
    place = table(tmp_path)
    one = sinks.sink(sinks.plan(f"file://{place}", uid=ME.uid, mode="append"))
    one.preflight()
    one.write(pl.LazyFrame({"v": [2]}))
    in_place_of_a_record(kind, place)
    with pytest.raises(JobError, match="no listing shows it") as caught:
        one.commit()
    assert caught.value.failure is Failure.UNSAFE_STORE


def refused_before_it_runs(place: Path) -> str:
    """What an ordinary job of a victim is told before its query is paid for."""
    with pytest.raises(JobError) as caught:
        sinks.sink(sinks.plan(f"file://{place}", uid=ME.uid, mode="append")).preflight()
    assert (caught.value.failure, caught.value.failure.policy) == (Failure.UNSAFE_STORE, Policy.NEVER)
    return caught.value.message


@pytest.mark.parametrize("kind", KINDS)
def test_something_in_place_of_the_next_record_that_is_no_file_is_told_before_the_query_runs(
    kind: str, tmp_path: Path
) -> None:
    place = table(tmp_path)
    in_place_of_a_record(kind, place)
    assert refused_before_it_runs(place).startswith(f"{place}/_commits/00000000000000000002.json is no plain file")


@pytest.mark.parametrize("folder", ["data", "_commits", "_staging", ""])
def test_a_file_in_place_of_a_folder_of_the_table_is_told_before_the_query_runs(folder: str, tmp_path: Path) -> None:
    place = table(tmp_path)
    shutil.rmtree(place / folder)
    (place / folder).write_text("x")
    assert refused_before_it_runs(place).startswith(f"{place / folder} is no folder")


@pytest.mark.parametrize("version", [10**15, 10**15 - 1])
def test_a_version_that_leaves_no_next_one_is_told_before_the_query_runs(version: int, tmp_path: Path) -> None:
    place = table(tmp_path)
    name = f"{version:020d}.json"
    put(place, forged(version=version, mode="fence", add=[], rows=0, bytes=0), name)
    assert refused_before_it_runs(place).startswith(f"_commits/{name} is not what a GpuQuery runner writes")


def test_a_log_that_cannot_be_believed_costs_the_job_its_own_uploads_only(tmp_path: Path) -> None:
    place = table(tmp_path)
    made = sinks.plan(f"file://{place}", uid=ME.uid, mode="append")
    one = sinks.sink(made)
    one.preflight()
    one.write(pl.LazyFrame({"v": [2]}))
    put(place, forged(remove=[f"{OUT}/thesis.txt"]))
    before = everything(tmp_path)
    with pytest.raises(JobError, match=r"remove\[0\]"):
        one.commit()
    one.abort()
    assert everything(tmp_path) == before
    assert not list((place / "_staging").rglob("*.tmp")), "nothing was committed, so nothing may stay"


def test_a_pending_set_that_another_has_written_is_not_committed(tmp_path: Path) -> None:
    made = sinks.plan(f"file://{tmp_path}/table", uid=ME.uid)
    ranks = [sinks.Sink(made, sinks.Identity(ME.uid, 1, rank, 2)) for rank in (0, 1)]
    ranks[0].preflight()
    for rank in ranks:
        rank.write(pl.LazyFrame({"v": [2]}))
        rank.seal()
    pending = tmp_path / f"table/_staging/{ME.uid}/1/rank-00001.json"
    staged = json.loads(pending.read_text())
    staged["files"][0]["uploadId"] = "../victim/id_rsa"
    pending.write_text(json.dumps(staged))
    with pytest.raises(JobError, match=r"rank-00001.json .*files\[0\]\.uploadId is") as caught:
        ranks[0].commit()
    assert caught.value.failure is Failure.UNSAFE_STORE
    assert not list((tmp_path / "table").glob("_commits/*"))


def test_a_record_of_many_gigabytes_is_not_read(tmp_path: Path) -> None:
    place = table(tmp_path)
    put(place, b"")
    os.truncate(place / "_commits/00000000000000000002.json", 10 << 30)
    with pytest.raises(JobError, match="10737418240 bytes"):
        Log(posix(place)).refresh()


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("InvalidRequest", Failure.UNSAFE_STORE),
        ("AccessDenied", Failure.STORAGE_AUTH),
        ("SlowDown", Failure.STORAGE_UNAVAILABLE),
        ("InternalError", Failure.STORAGE_UNAVAILABLE),
    ],
)
def test_an_object_that_s3_does_not_delete_is_an_outage_only_if_trying_again_can_help(
    code: str, failure: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Client:
        def delete_objects(self, **_: Any) -> dict[str, Any]:
            return {"Errors": [{"Key": "table/data/\x1b[2Jx", "Code": code, "Message": "words"}]}

    monkeypatch.setattr(s3_table, "_client", lambda *_: Client())
    monkeypatch.setattr(s3_table, "Quick", lambda client: client)
    store = s3_table.S3Store(stores.locate("s3://bucket/table"), StoreAccess())
    with pytest.raises(JobError, match=rf"does not delete .*: {code}: words") as caught:
        store.delete(["data/x"])
    assert caught.value.failure is failure
    assert "\x1b" not in caught.value.message
