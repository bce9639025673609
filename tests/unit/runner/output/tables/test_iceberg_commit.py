"""The commit to a catalog is made once, whatever it answers."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import JobRef
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables.iceberg import catalogs
from gpuquery.runner.output.commit import Step
from gpuquery.runner.output.tables.iceberg import commit as committing
from gpuquery.runner.output.tables.iceberg import marks
from gpuquery.runner.output.tables.iceberg.commit import Asked, Committer
from gpuquery.runner.output.tables.iceberg.draft import Change
from gpuquery.runner.output.tables.iceberg.file_io import StoreIO
from tests.support import iceberg

SCHEMA = Schema(NestedField(1, "id", LongType()))
ERROR = {"error": {"type": "Fault", "message": "as asked", "code": 0}}
NAMES = Counter()


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setattr(committing, "LONGEST_PAUSE", 0.01)
    with iceberg.served(tmp_path) as lake:
        lake.table(SCHEMA)
        yield lake


def job(uid):
    return JobRef(namespace="team", name="report", uid=uid)


def file(lake, *ids):
    """A data file of the table."""
    table = lake.catalog.load_table("sales.orders")
    path = Path(table.location().removeprefix("file://")) / "data" / f"{threading.get_ident()}-{NAMES.total()}.parquet"
    NAMES[path] += 1
    path.parent.mkdir(exist_ok=True)
    pq.write_table(iceberg.with_ids(pa.table({"id": pa.array(ids, pa.int64())}), {"id": 1}), path)
    return iceberg.file_of(table, path, len(ids))


def committer(lake, uid="u1", attempt=1, **more):
    asked = catalogs.Asked("lake", "sales.orders", "output.table", Failure.USER_ERROR)
    return Committer(catalogs.Catalog(asked, lake.access, StoreIO(lake.access)), job(uid), attempt, **more)


def appending(files, uid="u1", attempt=1, *, removes=None, branch="main"):
    change = Change(branch, {0: list(files)} if files else {}, removes, marks.properties(job(uid), attempt))
    return lambda table: Asked(table.metadata, change)


def ids(lake, branch=None):
    scan = lake.catalog.load_table("sales.orders").scan()
    return sorted((scan.use_ref(branch) if branch else scan).to_arrow()["id"].to_pylist())


def snapshots(lake):
    return lake.catalog.load_table("sales.orders").metadata.snapshots


def avro(lake):
    place = lake.catalog.load_table("sales.orders").location().removeprefix("file://")
    return {one.name for one in (Path(place) / "metadata").glob("*.avro")}


def needed(lake):
    """Manifests and lists of manifests that snapshots name."""
    table = lake.catalog.load_table("sales.orders")
    found = {one.manifest_list for one in snapshots(lake)}
    found |= {m.manifest_path for one in snapshots(lake) for m in one.manifests(table.io)}
    return {place.rpartition("/")[2] for place in found}


def test_a_commit_adds_its_rows_and_marks_its_snapshot(lake):
    landed = committer(lake).commit(appending([file(lake, 1, 2)]))
    assert ids(lake) == [1, 2]
    (snapshot,) = snapshots(lake)
    assert landed.snapshot_id == snapshot.snapshot_id
    summary = snapshot.summary.additional_properties
    assert (summary["gpuquery.job-uid"], summary["gpuquery.job"]) == ("u1", "team/report")
    assert (summary["added-records"], summary["total-data-files"]) == ("2", "1")
    committer(lake, "u2").commit(appending([file(lake, 3)], "u2"))
    assert ids(lake) == [1, 2, 3]
    assert snapshots(lake)[-1].summary.additional_properties["total-records"] == "3"


def test_a_second_attempt_finds_the_commit_of_the_first(lake):
    first = committer(lake).commit(appending([file(lake, 1)]))
    again = committer(lake, attempt=2).commit(appending([file(lake, 2)], attempt=2))
    assert again.snapshot_id == first.snapshot_id and again.attempt == 1 and ids(lake) == [1]


ANSWERS = {
    "refused, then free": [("before", (409, ERROR))],
    "refused many times": [("before", (409, ERROR))] * 5,
    "failed, and not carried out": [("before", (500, ERROR))],
    "failed, and carried out": [("after", (500, ERROR))],
    "out of time, and carried out": [("after", (504, ERROR))],
    "hung up before": [("before", "hang up")],
    "hung up after": [("after", "hang up")],
    "refused, though it was carried out": [("after", (409, ERROR))],
    "called a bad request, though it was carried out": [("after", (400, ERROR))],
    "not JSON, and carried out": [("after", (200, b"<html>"))],
    "busy": [("before", (503, ERROR)), ("before", (429, ERROR))],
    "lost twice": [("before", "hang up"), ("after", "hang up")],
}


@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_rows_are_there_once_whatever_the_catalog_answers(lake, answers):
    left = list(answers)
    lake.fault = lambda when, parts: left.pop(0)[1] if left and left[0][0] == when else None
    landed = committer(lake).commit(appending([file(lake, 1)]))
    assert not left
    assert ids(lake) == [1] and [one.snapshot_id for one in snapshots(lake)] == [landed.snapshot_id]
    assert needed(lake) <= avro(lake)


def test_manifests_go_once_no_delivery_of_their_request_can_be_carried_out(lake):
    others = [file(lake, 9)]

    def overtaken(step):
        if step is Step.BEFORE_RECORD and others:
            committer(lake, "u9").commit(appending([others.pop()], "u9"))

    committer(lake, hook=overtaken).commit(appending([file(lake, 1)]))
    assert ids(lake) == [1, 9] and avro(lake) == needed(lake)


@pytest.mark.parametrize("answer", ["hang up", (409, ERROR)], ids=["lost", "refused, while the branch is as it was"])
def test_manifests_stay_while_a_delivery_of_their_request_may_be_under_way(lake, answer):
    answers = [answer]
    lake.fault = lambda when, parts: answers.pop() if answers and when == "before" else None
    committer(lake).commit(appending([file(lake, 2)]))
    assert len(avro(lake) - needed(lake)) == 2


@pytest.mark.parametrize(
    ("status", "failure", "says"),
    [
        (400, Failure.INVALID_ENDPOINT, "as asked"),
        (403, Failure.STORAGE_AUTH, "does not allow it"),
        (404, Failure.INVALID_ENDPOINT, "as asked"),
    ],
)
def test_a_refusal_for_good_ends_the_job_and_leaves_nothing(lake, status, failure, says):
    lake.fault = lambda when, parts: (status, ERROR) if when == "before" else None
    mine = committer(lake)
    with pytest.raises(JobError, match=says) as caught:
        mine.commit(appending([file(lake, 1)]))
    assert caught.value.failure is failure and mine.certain
    assert not snapshots(lake) and not avro(lake)


def test_a_catalog_that_fails_for_ever_is_given_up(lake, monkeypatch):
    monkeypatch.setattr(committing, "PATIENCE", 0.2)
    lake.fault = lambda when, parts: (500, ERROR) if when == "before" else None
    mine = committer(lake)
    with pytest.raises(JobError, match="has not taken the commit in") as caught:
        mine.commit(appending([file(lake, 1)]))
    assert caught.value.failure is Failure.STORAGE_UNAVAILABLE and not mine.certain


def race(lake, uids):
    """Commit at the same time; returns what each committer said, by its number."""
    gate, said, seen = threading.Barrier(len(uids)), {}, set()
    files = [file(lake, n) for n in range(len(uids))]

    def hook(step):
        if step is Step.BEFORE_RECORD and threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            gate.wait(60)  # all have asked, and found nothing

    def run(number, uid):
        mine = committer(lake, uid, number + 1, hook=hook)
        said[number] = mine.commit(appending([files[number]], uid, number + 1))

    threads = [threading.Thread(target=run, args=one) for one in enumerate(uids)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return said


def test_of_four_attempts_of_one_job_one_commits(lake):
    said = race(lake, ["u1"] * 4)
    assert len(snapshots(lake)) == 1 and len(ids(lake)) == 1
    assert {one.snapshot_id for one in said.values()} == {snapshots(lake)[0].snapshot_id}
    assert ids(lake) == [said[0].attempt - 1]


def test_four_jobs_all_commit(lake):
    said = race(lake, ["u1", "u2", "u3", "u4"])
    assert len(said) == 4 and ids(lake) == [0, 1, 2, 3] and len(snapshots(lake)) == 4


def test_a_forged_mark_is_refused(lake):
    mine = appending([file(lake, 1)])
    committer(lake).commit(mine)
    other = JobRef(namespace="team", name="other", uid="u1")
    with pytest.raises(JobError, match="no GpuQuery runner has made it") as caught:
        marks.find(lake.catalog.load_table("sales.orders").metadata, other)
    assert caught.value.failure is Failure.UNSAFE_STORE


def test_a_mark_that_has_expired_keeps_the_job_from_committing_again(lake):
    base = marks.base(lake.catalog.load_table("sales.orders").metadata)
    first = committer(lake).commit(appending([file(lake, 1)]))
    committer(lake, "u2").commit(appending([file(lake, 2)], "u2"))
    assert committer(lake, attempt=2).commit(appending([file(lake, 3)], attempt=2), [base]) == first
    lake.catalog.load_table("sales.orders").maintenance.expire_snapshots().by_id(first.snapshot_id).commit()
    with pytest.raises(JobError, match="snapshot number 1, which was made since, has expired") as caught:
        committer(lake, attempt=2).commit(appending([file(lake, 3)], attempt=2), [base])
    assert caught.value.failure is Failure.UNSAFE_STORE and ids(lake) == [1, 2]


def test_snapshots_that_expired_before_the_attempt_raise_no_doubt(lake):
    first = committer(lake).commit(appending([file(lake, 1)]))
    committer(lake, "u2").commit(appending([file(lake, 2)], "u2"))
    base = marks.base(lake.catalog.load_table("sales.orders").metadata)
    lake.catalog.load_table("sales.orders").maintenance.expire_snapshots().by_id(first.snapshot_id).commit()
    committer(lake, "u3").commit(appending([file(lake, 3)], "u3"), [base])
    assert ids(lake) == [1, 2, 3]


def test_files_are_replaced_one_by_one_and_others_stay(lake):
    kept, gone = file(lake, 1), file(lake, 2)
    committer(lake).commit(appending([kept, gone]))
    committer(lake, "u2").commit(
        appending([file(lake, 3)], "u2", removes=lambda one, spec: one.file_path == gone.file_path)
    )
    assert ids(lake) == [1, 3]
    summary = snapshots(lake)[-1].summary
    assert summary.operation.value == "overwrite"
    counted = {name: summary[name] for name in ("deleted-data-files", "total-data-files", "total-records")}
    assert counted == {"deleted-data-files": "1", "total-data-files": "2", "total-records": "2"}
    committer(lake, "u3").commit(appending([], "u3", removes=lambda one, spec: True))
    assert ids(lake) == []
    committer(lake, "u4").commit(appending([], "u4"))
    assert ids(lake) == [] and len(snapshots(lake)) == 4


def test_a_new_branch_begins_at_the_current_snapshot_and_the_table_does_not_see_it(lake):
    committer(lake).commit(appending([file(lake, 1)]))
    committer(lake, "u2").commit(appending([file(lake, 2)], "u2", branch="audit"))
    committer(lake, "u3").commit(appending([file(lake, 3)], "u3", branch="audit"))
    assert ids(lake) == [1] and ids(lake, "audit") == [1, 2, 3]
    assert committer(lake, "u3", 2).commit(appending([file(lake, 9)], "u3", 2)).attempt == 1
    assert ids(lake) == [1]


def test_nothing_of_it_needs_pyarrow():
    """The images have none."""
    modules = ("commit", "draft", "file_io", "marks", "predicate", "schemas", "transforms")
    program = "import sys; sys.modules['pyarrow'] = None\n" + "\n".join(
        f"import gpuquery.runner.output.tables.iceberg.{one}" for one in modules
    )
    subprocess.run([sys.executable, "-c", program], check=True)
