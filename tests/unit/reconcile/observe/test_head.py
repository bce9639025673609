"""What is kept of a job before anyone looks at it, and of pods and Jobs while a LIST is read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.status import GpuQueryJobStatus
from gpuquery.app.watch import Jobs, Sightings
from gpuquery.plan.maxima import Maxima
from gpuquery.reconcile.census import Census
from gpuquery.reconcile.metrics import Metrics
from gpuquery.reconcile.observe import parse
from gpuquery.reconcile.observe.contradiction import has_ended
from gpuquery.reconcile.observe.head import Head, Sight, head
from gpuquery.reconcile.queue import WorkQueue
from gpuquery.reconcile.release import _trimmed
from gpuquery.render.ranks import TOKEN_VOLUME
from tests.support.kube_objects import job
from tests.support.recording import READY, RecordingClient

if TYPE_CHECKING:
    from gpuquery.reconcile.reconciler import Key

DONE = "2026-11-21T12:00:00Z"


def status(*true: str, reason: str = "", **more: Any) -> dict[str, Any]:
    conditions = [{"type": t, "status": "True", "reason": reason} for t in true]
    return {"state": "x", "plan": {"engine": "cpu"}, "conditions": conditions, "completionTime": DONE, **more}


def manifest(status: Any, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "namespace": "marts", "uid": "u", "resourceVersion": "7"}, "spec": spec,
            "status": status}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "ended"),
    [
        pytest.param(status("Complete", "OutputCommitted"), True, id="a job that is complete needs no look"),
        pytest.param(status("Complete", reason="DryRun"), True, id="nor does a dry run that is"),
        pytest.param(status("Failed"), True, id="nor one that has failed"),
        pytest.param(status("Complete"), False, id="Complete without a commit is looked at"),
        pytest.param(status("Complete", "OutputCommitted", "Failed"), False, id="both ends at once are looked at"),
        pytest.param(status("Failed", completionTime=None), False, id="an end without its time is looked at"),
        pytest.param(
            status("Complete", "OutputCommitted", attempts=[{"id": 1, "started": DONE}]),
            False,
            id="an end before that of its attempt is looked at",
        ),
        pytest.param(
            status("Failed", attempts=[{"id": 1, "started": DONE, "ended": DONE}]), True, id="one after it is not"
        ),
        pytest.param(status(), False, id="a job that runs is looked at"),
        pytest.param(None, False, id="a new job is looked at"),
        pytest.param({"conditions": [{"type": "Failed"}], "completionTime": DONE}, False, id="what is no status too"),
        pytest.param("nonsense", False, id="and what is none at all"),
    ],
)
def test_what_has_ended_for_good(found: Any, ended: bool) -> None:
    known = head(manifest(found))
    assert known.ended is ended and bool(known.sight.ended) is ended, "nor does a live one make room"
    if known.state:
        read = GpuQueryJobStatus.model_validate({**found, "plan": None})
        assert has_ended(job(status=read)) is ended, "a look finds the same"


def test_a_status_that_cannot_be_read_tells_of_no_end_but_that_the_job_has_begun() -> None:
    found = head(manifest({"plan": {"engine": "cpu"}, "conditions": [{"type": "Failed"}], "completionTime": DONE}))
    assert found.sight == Sight(uid="u", created="", begun=True)


def test_a_finished_job_says_when_it_is_to_be_deleted() -> None:
    found = head(manifest(status("Failed"), ttlSecondsAfterFinished=60))
    sight = Sight(uid="u", created="", begun=True, ended=DONE)
    assert found == Head(sight, "7", "x", "cpu", ended=True, expires=datetime(2026, 11, 21, 12, 1, tzinfo=UTC))
    assert head(manifest(status("Failed"))).expires is None
    assert not head(manifest(status("Failed"), ttlSecondsAfterFinished=10**18)).ended, "somebody will find out"


async def test_after_a_restart_only_jobs_that_have_not_ended_are_looked_at() -> None:
    queue: WorkQueue[Key] = WorkQueue()
    metrics, sightings = Metrics(RecordingClient(), queue), Sightings()
    census = Census(Maxima(finished_jobs_per_namespace=3), queue.add)
    jobs = Jobs(queue, metrics, sightings, census)
    jobs.tell(("marts", "over"), head(manifest(status("Failed", state="Failed"))), True)
    jobs.tell(("marts", "expired"), head(manifest(status("Failed"), ttlSecondsAfterFinished=0)), True)
    jobs.tell(("marts", "later"), head(manifest(status("Failed"), ttlSecondsAfterFinished=300_000_000)), True)
    jobs.tell(("marts", "new"), head(manifest(None)), True)
    assert [await queue.get() for _ in range(len(queue))] == [("marts", "expired"), ("marts", "new")]
    assert metrics.over(("marts", "over")) and not metrics.over(("marts", "new"))
    jobs.tell(("marts", "over"), head(manifest(status("Failed"))), False)
    assert await queue.get() == ("marts", "over"), "whoever changes it afterwards has it looked at"
    assert sightings.seen.keys() == {("marts", name) for name in ("over", "expired", "later", "new")}


POD = {
    "metadata": {
        "name": "a-0", "namespace": "marts", "uid": "p", "creationTimestamp": DONE,
        "labels": {"gpuquery.io/attempt": "2", "of-the-user": "x" * 60, "batch.kubernetes.io/job-name": "a"},
        "annotations": {"batch.kubernetes.io/job-completion-index": "3", "big": "x" * 200_000},
        "ownerReferences": [{"kind": "Job", "name": "a", "uid": "j", "controller": True}],
        "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
    },
    "spec": {
        "nodeName": "n1",
        "containers": [
            {"name": "runner", "env": [{"value": "x" * 100_000}], "resources": {"limits": {"memory": "4Gi"}}}
        ],
        "affinity": {"x": "x" * 100_000},
    },
    "status": READY,
}  # fmt: skip
JOB: dict[str, Any] = {
    "metadata": {
        "name": "a", "uid": "j", "labels": {"kueue.x-k8s.io/queue-name": "q"}, "annotations": {"big": "x" * 200_000},
        "managedFields": [
            {"manager": "kueue", "fieldsV1": {"f:spec": {"f:suspend": {}, "f:big": "x" * 10_000}}},
            {"manager": "kubectl", "fieldsV1": {"f:metadata": {"big": "x" * 10_000}}},
        ],
    },
    "spec": {
        "completions": 3, "suspend": True, "activeDeadlineSeconds": 9,
        "template": {"spec": {"volumes": [{"name": TOKEN_VOLUME, "secret": {}}], "containers": [POD["spec"]]}},
    },
    "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "x"}]},
}  # fmt: skip


def test_what_a_release_keeps_of_a_pod_and_a_job_is_small_and_says_whose_they_are() -> None:
    pod, job = _trimmed(POD), _trimmed(JOB)
    assert pod["metadata"]["ownerReferences"] == POD["metadata"]["ownerReferences"]
    assert pod["status"]["phase"] == "Running" and parse.ended_by(job) == parse.ended_by(JOB)
    assert max(len(json.dumps(each)) for each in (pod, job)) < 2000
