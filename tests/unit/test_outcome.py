"""Outcome: the class of a failure, from what pods leave behind."""

from __future__ import annotations

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.status import AttemptStatus
from gpuquery.reconcile.facts import Attempt, Pod
from gpuquery.reconcile.outcome import Committed, Fault, judge
from tests.support.kube_objects import COMMITTED, NOW, OUTPUT, attempt, batch, ended, failed_report, pod, running

RECORD = AttemptStatus(id=1, started=NOW)
SCRATCH = 'Usage of EmptyDir volume "scratch" exceeds the limit "1Gi". '
PRESSURE = "The node was low on resource: memory."
F = Failure


def judged(*pods: Pod) -> Failure | str | None:
    found = judge(attempt(*pods), RECORD)
    return found.failure if isinstance(found, Fault) else "committed" if found else None


@pytest.mark.parametrize(
    ("subject", "want"),
    [
        pytest.param(running(), None, id="a running pod has no outcome"),
        pytest.param(pod(), None, id="a pending pod has no outcome"),
        pytest.param(ended(0, COMMITTED), "committed", id="a committed report"),
        pytest.param(
            ended(137, COMMITTED, disruption="EvictionByEvictionAPI"), "committed", id="a commit wins over an eviction"
        ),
        pytest.param(ended(1, failed_report(F.USER_ERROR)), F.USER_ERROR, id="the runner's own word"),
        pytest.param(
            ended(1, failed_report(F.USER_ERROR), disruption="x"), F.USER_ERROR, id="a wrong query, evicted or not"
        ),
        pytest.param(
            ended(1, failed_report(F.WORKER_LOST), disruption="x"), F.EVICTED, id="what SIGTERM did is the eviction's"
        ),
        pytest.param(running(disruption="PreemptionByScheduler"), F.EVICTED, id="told while the pod still runs"),
        pytest.param(ended(137, exit_reason="OOMKilled"), F.HOST_OUT_OF_MEMORY, id="OOM killed"),
        pytest.param(
            ended(137, exit_reason="OOMKilled", disruption="x"), F.EVICTED, id="OOM killed while being evicted"
        ),
        pytest.param(ended(137), F.WORKER_LOST, id="SIGKILL by nobody we know"),
        pytest.param(ended(143), F.WORKER_LOST, id="SIGTERM by nobody we know"),
        pytest.param(ended(1), F.INTERNAL_ERROR, id="no report"),
        pytest.param(ended(0), F.INTERNAL_ERROR, id="success without a report is none"),
        pytest.param(ended(128, exit_reason="StartError"), F.INVALID_PLAN, id="an image without a runner"),
        pytest.param(pod(phase="Failed", reason="Evicted", message=SCRATCH), F.SCRATCH_FULL, id="scratch full"),
        pytest.param(
            pod(phase="Failed", reason="Evicted", message=PRESSURE, disruption="TerminationByKubelet"),
            F.EVICTED,
            id="a node under pressure",
        ),
        pytest.param(pod(phase="Failed", reason="OutOfcpu"), F.EVICTED, id="refused by the kubelet"),
        pytest.param(pod(phase="Failed"), F.EVICTED, id="a phase and nothing else"),
    ],
)
def test_of_one_pod(subject: Pod, want: Failure | str | None) -> None:
    assert judged(subject) == want


@pytest.mark.parametrize(
    ("subject", "want"),
    [
        pytest.param(Attempt(number=1), F.WORKER_LOST, id="the Job was deleted"),
        pytest.param(attempt(batch_job=batch(finished="Failed")), F.WORKER_LOST, id="the pods were deleted"),
        pytest.param(
            attempt(batch_job=batch(finished="Failed", reason="DeadlineExceeded")),
            F.DEADLINE_EXCEEDED,
            id="the Job controller's own deadline, while no operator ran",
        ),
        pytest.param(
            attempt(batch_job=batch(finished="Complete")), F.EVICTED, id="a success whose report is gone is asked again"
        ),
        pytest.param(attempt(), None, id="a Job that has no pods yet"),
    ],
)
def test_without_pods(subject: Attempt, want: Failure | None) -> None:
    found = judge(subject, RECORD)
    assert (found.failure if isinstance(found, Fault) else found) == want


def test_the_first_cause_that_was_recorded_stays() -> None:
    record = RECORD.model_copy(update={"reason": "StartDeadlineExceeded", "message": "no node"})
    assert judge(attempt(ended(143)), record) == Fault(F.START_DEADLINE_EXCEEDED, "no node")


def test_a_commit_wins_over_a_recorded_cause() -> None:
    record = RECORD.model_copy(update={"reason": "DeadlineExceeded"})
    assert judge(attempt(ended(0, COMMITTED)), record) == Committed(OUTPUT)


def test_of_several_ranks_the_one_that_knows_the_cause_is_believed() -> None:
    lost = ended(1, failed_report(F.WORKER_LOST, "a peer went away"), name="a-1")
    assert judged(lost, ended(1, failed_report(F.GPU_OUT_OF_MEMORY), name="a-2")) is F.GPU_OUT_OF_MEMORY


def test_the_memory_limit_that_was_exceeded_is_named() -> None:
    found = judge(attempt(ended(137, exit_reason="OOMKilled", memory_limit="600Mi")), RECORD)
    assert isinstance(found, Fault) and "600Mi" in found.message
