"""Outcome: the class of a failure, from what pods leave behind."""

from __future__ import annotations

import pytest

from gpuquery.api.reasons import Failure, Policy
from gpuquery.api.status import AttemptStatus, InputStatus
from gpuquery.reconcile.observe import parse
from gpuquery.reconcile.observe.model import Attempt, Pod
from gpuquery.reconcile.policy.outcome import Committed, Fault, judge
from tests.support.kube_objects import COMMITTED, NOW, OUTPUT, attempt, batch, ended, failed_report, pod, running
from tests.support.recording import ended as ended_status

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
        pytest.param(ended(1), F.INVALID_PLAN, id="Python ended before a supervisor could tell: an image without it"),
        pytest.param(ended(3), F.INTERNAL_ERROR, id="no report"),
        pytest.param(ended(0), F.INTERNAL_ERROR, id="success without a report is none"),
        pytest.param(ended(128, exit_reason="StartError"), F.INVALID_PLAN, id="an image without a runner"),
        pytest.param(pod(phase="Failed", reason="Evicted", message=SCRATCH), F.SCRATCH_FULL, id="scratch full"),
        pytest.param(
            pod(phase="Failed", reason="Evicted", message=PRESSURE, disruption="TerminationByKubelet"),
            F.EVICTED,
            id="a node under pressure",
        ),
        pytest.param(pod(phase="Failed", reason="OutOfcpu"), F.POD_REFUSED, id="refused by the kubelet"),
        pytest.param(pod(phase="Failed", reason="NodeLost"), F.EVICTED, id="a lost node"),
        pytest.param(pod(phase="Failed", reason="NodeShutdown"), F.EVICTED, id="a node that shuts down"),
        pytest.param(
            pod(phase="Failed", reason="OutOfpods", disruption="TerminationByKubelet"),
            F.EVICTED,
            id="taken away, whatever else is told of it",
        ),
        pytest.param(pod(phase="Failed"), F.WORKER_LOST, id="a phase and nothing else"),
    ],
)
def test_of_one_pod(subject: Pod, want: Failure | str | None) -> None:
    assert judged(subject) == want


@pytest.mark.parametrize("failure", [failure for failure in F if failure.policy is Policy.FREE])
def test_a_pod_that_says_that_its_node_was_taken_away_frees_nothing(failure: Failure) -> None:
    said = parse.pod({"metadata": {"name": "p"}, "status": ended_status(failed_report(failure), 1)})
    found = judge(attempt(said), RECORD)
    assert isinstance(found, Fault) and found.failure.policy is not Policy.FREE
    assert f"failure is {failure}, which is not for a pod to say" in found.message


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


@pytest.mark.parametrize(
    ("reason", "message", "way_out"),
    [
        ("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host", "profile"),
        ("UnexpectedAdmissionError", "Allocate failed due to no healthy devices present", "device plugin"),
        ("TopologyAffinityError", "Resources cannot be allocated with Topology locality", "topology policy"),
        ("OutOfcpu", "Node didn't have enough resource: cpu", "less cpu left"),
        ("OutOfnvidia.com/gpu", "Node didn't have enough resource", "less nvidia.com/gpu left"),
        ("NodeAffinity", "Predicate NodeAffinity failed", "nodeSelector"),
        ("Evicted", "The node had condition: [MemoryPressure].", "short of a resource"),
        ("SomethingNew", "that nobody knows yet", "events of the pod"),
    ],
)
def test_a_refusal_of_the_kubelet_is_told_in_its_words_with_a_way_out(reason: str, message: str, way_out: str) -> None:
    refused = pod(phase="Failed", reason=reason, message=f"Pod was rejected: {message}")
    found = judge(attempt(refused), RECORD)
    assert isinstance(found, Fault) and found.failure is F.POD_REFUSED and found.failure.policy is Policy.BUDGETED
    assert found.message.startswith("pod revenue-0a1b2-1-0-x on node node-1 was refused by the kubelet: ")
    assert f"{reason}: Pod was rejected: {message.rstrip('.')}; " in found.message and way_out in found.message


def test_a_suspended_job_took_its_pods_away_and_nobody_deleted_them() -> None:
    ran = RECORD.model_copy(update={"ready": NOW})
    held = batch(suspended="kubectl")
    for sight in (attempt(batch_job=held), attempt(ended(143), batch_job=held), attempt(running(), batch_job=held)):
        found = judge(sight, ran)
        assert isinstance(found, Fault) and found.failure is F.EVICTED
        assert (
            found.message == "the Job revenue-0a1b2-1 was suspended (by kubectl) while its pods ran, which ended them"
        )
    assert judge(attempt(batch_job=held), RECORD) is None, "one that never ran waits to be resumed"
    own = judge(attempt(ended(1, failed_report(F.USER_ERROR)), batch_job=held), ran)
    assert isinstance(own, Fault) and own.failure is F.USER_ERROR, "a query that is wrong stays so"


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


def test_what_a_set_has_read_is_what_index_0_tells_whoever_tells_the_cause() -> None:
    read = (InputStatus(name="t", snapshot="delta:7@3"),)
    consequence = failed_report(F.TRANSPORT_ERROR).model_copy(update={"inputs": read})
    cause = ended(137, exit_reason="OOMKilled", index=1, name="b", uid="p2")
    found = judge(attempt(ended(1, consequence), cause, batch_job=batch(completions=2)), RECORD)
    assert isinstance(found, Fault) and (found.failure, found.inputs) == (F.HOST_OUT_OF_MEMORY, read)
