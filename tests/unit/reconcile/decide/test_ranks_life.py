"""A set of ranks from its start to its end: who is waited for, whose word counts, what it costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.conditions import ConditionType, is_true
from gpuquery.api.labels import TOKEN_KEY
from gpuquery.api.reasons import Failure
from gpuquery.api.report import Phase, Progress, Report
from gpuquery.api.status import AttemptStatus, GpuQueryJobStatus
from gpuquery.api.timing import OPERATOR_COMMIT_SECONDS, PHASE_SECONDS
from gpuquery.kube.client import Resource
from gpuquery.kube.progress import Reading
from gpuquery.plan.defaults import Defaults
from gpuquery.reconcile.apply import create
from gpuquery.reconcile.observe.model import Attempt, Pod, Waiting
from gpuquery.reconcile.policy.outcome import Fault, judge
from gpuquery.reconcile.policy.startup import SLOW_SECONDS, count
from tests.support import kube_objects as kube
from tests.support.kube_objects import COMMITTED, NOW, OUTPUT, at, batch, condition, failed_report, stopped, told
from tests.support.recording import READY, NoProgress, RecordingClient
from tests.support.recording import ended as ended_status
from tests.unit.reconcile.test_reconciler import KEY, current, operator, store

if TYPE_CHECKING:
    from datetime import datetime

    from gpuquery.api.types import GpuQueryJob

F = Failure
GPUS = Defaults(runtime_image="runtime:test", runtime_image_pattern="rt:{release}")
SET: dict[str, Any] = {
    "engine": "rapidsmpf", "cluster": "distributed", "workers": {"replicas": 3, "gpus": 1}, "preflight": "never",
}  # fmt: skip
RECORD = AttemptStatus(id=1, started=NOW)
DONE = Report()


def step(subject: GpuQueryJob, *attempts: Attempt, seconds: float = 0, **facts: Any) -> Any:
    return kube.step(subject, kube.seen(*attempts, **facts), seconds=seconds, defaults=GPUS)


def started(**spec: Any) -> GpuQueryJob:
    found: GpuQueryJob = kube.step(kube.job(**{**SET, **spec}), defaults=GPUS)[0]
    return found


def name(index: int) -> str:
    return f"revenue-0a1b2-1-{index}-x"


def pod(index: int, **facts: Any) -> Pod:
    return kube.pod(**{"name": name(index), "uid": f"p{index}", "index": index, "node": f"node-{index}", **facts})


def running(index: int, **facts: Any) -> Pod:
    return replace(kube.running(), name=name(index), uid=f"p{index}", index=index, node=f"node-{index}", **facts)


def ended(index: int, code: int = 1, report: Report | None = None, *, when: datetime = NOW, **facts: Any) -> Pod:
    found = kube.ended(code, report, finished=when, **facts)
    return replace(found, name=name(index), uid=f"p{index}", index=index, node=f"node-{index}")


def ranks(*pods: Pod, wanted: int = 3, **facts: Any) -> Attempt:
    return kube.attempt(*pods, batch_job=batch(completions=wanted, ranks=True, **facts))


def judged(*pods: Pod, **facts: Any) -> Any:
    found = judge(ranks(*pods, **facts), RECORD)
    return found.failure if isinstance(found, Fault) else "committed" if found else None


LOST = failed_report(F.WORKER_LOST, "the connection to pod revenue-0a1b2-1-2-x was lost")
GPU_OOM = failed_report(F.GPU_OUT_OF_MEMORY, "rank 2 of pod revenue-0a1b2-1-2-x: out of memory")

OUTCOMES: list[Any] = [
    pytest.param([running(0), ended(1, 0, DONE), running(2)], None, id="a rank that is done ends nothing"),
    pytest.param([running(0), ended(1, 0), running(2)], None, id="nor does one whose report is empty"),
    pytest.param([ended(0, 0, COMMITTED), ended(1, 0, DONE), running(2)], "committed", id="index 0 has committed"),
    pytest.param([ended(0, 0, DONE), ended(1, 0, DONE), ended(2, 0, DONE)], F.INTERNAL_ERROR, id="all done, no commit"),
    pytest.param([ended(0, 0, COMMITTED), ended(1, 1, LOST)], "committed", id="a commit wins over a loss after it"),
    pytest.param([ended(0, 1, LOST), ended(1, 1, GPU_OOM)], F.GPU_OUT_OF_MEMORY, id="who names a cause is believed"),
    pytest.param(
        [ended(0, 1, LOST), ended(2, 137, exit_reason="OOMKilled")], F.HOST_OUT_OF_MEMORY, id="killed by the kernel"
    ),
    pytest.param(
        [ended(0, 1, LOST), ended(2, 1, LOST, disruption="EvictionByEvictionAPI")], F.EVICTED, id="taken by Kubernetes"
    ),
    pytest.param(
        [ended(0, 1, failed_report(F.TRANSPORT_ERROR)), running(2, disruption="Preemption")], F.EVICTED,
        id="an eviction explains a broken connection",
    ),
    pytest.param(
        [ended(0, 1, GPU_OOM), ended(2, 137, disruption="EvictionByEvictionAPI")], F.GPU_OUT_OF_MEMORY,
        id="an eviction does not hide a cause that was named",
    ),
    pytest.param(
        [ended(0, 1, failed_report(F.RANK_STALLED)), ended(2, 137)], F.WORKER_LOST, id="a rank that somebody killed"
    ),
    pytest.param([ended(0, 1, LOST), running(1), running(2)], F.WORKER_LOST, id="nobody knows more"),
]  # fmt: skip


@pytest.mark.parametrize(("pods", "want"), OUTCOMES)
def test_of_a_set(pods: list[Pod], want: Failure | str | None) -> None:
    assert judged(*pods) == want
    assert judged(*reversed(pods)) == want, "in any order"


def test_of_two_that_know_as_much_the_first_is_believed_and_the_node_of_the_pod_that_is_named_is_told() -> None:
    late = ended(0, 1, failed_report(F.GPU_ERROR, "Xid 79 in pod revenue-0a1b2-1-0-x"), when=at(3))
    found = judge(ranks(late, ended(1, 1, GPU_OOM, when=at(1)), running(2)), RECORD)
    assert isinstance(found, Fault) and (found.failure, found.node) == (F.GPU_OUT_OF_MEMORY, "node-2")


def test_the_node_is_that_of_the_pod_that_failed_first_though_the_words_do_not_name_it() -> None:
    report = failed_report(F.USER_ERROR, "the query failed: no such column").model_copy(update={"pod": name(2)})
    found = judge(ranks(ended(0, 1, report), ended(1, 1, report), ended(2, 1, report)), RECORD)
    assert isinstance(found, Fault) and (found.failure, found.node) == (F.USER_ERROR, "node-2")


def test_a_lone_pod_that_ends_well_without_a_report_has_still_failed() -> None:
    assert judged(ended(0, 0), wanted=1) is F.INTERNAL_ERROR


def test_the_others_are_heard_before_a_loss_is_believed_and_no_longer_than_that() -> None:
    subject = started()
    sight = ranks(ended(0, 1, LOST), running(1), running(2))
    waiting, decision = step(subject, sight, seconds=PHASE_SECONDS - 1)
    assert decision.status is None and not stopped(decision) and 0 < decision.requeue_after <= PHASE_SECONDS
    heard = ranks(ended(0, 1, LOST), ended(1, 1, LOST), ended(2, 137, exit_reason="OOMKilled"), finished="Failed")
    after, _ = step(waiting, heard, seconds=PHASE_SECONDS - 1)
    assert after.status.attempts[-1].reason == F.HOST_OUT_OF_MEMORY and after.status.attempts[-1].node == "node-2"
    late, decision = step(subject, sight, seconds=PHASE_SECONDS + 1)
    assert stopped(decision) == (1,) and late.status.attempts[-1].reason == F.WORKER_LOST


def test_index_0_may_finish_its_commit_when_another_pod_has_failed() -> None:
    subject = started()
    sight = ranks(running(0), ended(1, 1, LOST), running(2))
    waiting, decision = step(subject, sight, seconds=OPERATOR_COMMIT_SECONDS - 1)
    assert not stopped(decision)
    committed = ranks(ended(0, 0, COMMITTED, when=at(20)), ended(1, 1, LOST), ended(2, 0, DONE), finished="Failed")
    after, _ = step(waiting, committed, seconds=OPERATOR_COMMIT_SECONDS - 1)
    assert is_true(after.status.conditions, ConditionType.COMPLETE) and after.status.output == OUTPUT
    _, decision = step(subject, sight, seconds=OPERATOR_COMMIT_SECONDS + 1)
    assert stopped(decision) == (1,)


def test_a_cause_that_was_seen_is_written_down_before_its_pod_goes() -> None:
    """The report of a pod that somebody deletes is gone soon."""
    subject = started()
    sight = ranks(ended(0, 1, LOST), running(1), ended(2, 137, exit_reason="OOMKilled"))
    known, decision = step(subject, sight, seconds=1)
    assert not stopped(decision) and known.status.attempts[-1].reason == F.HOST_OUT_OF_MEMORY
    again, decision = step(known, sight, seconds=2)
    assert decision.status is None, "once"
    gone = ranks(ended(0, 1, LOST), finished="Failed")
    after, _ = step(again, gone, seconds=5)
    assert after.status.attempts[-1].ended and after.status.attempts[-1].reason == F.HOST_OUT_OF_MEMORY


def test_ranks_that_leave_after_the_commit_are_left_to_themselves() -> None:
    subject, decision = step(started(), ranks(ended(0, 0, COMMITTED), running(1), running(2)), seconds=1)
    assert not stopped(decision) and decision.status is None
    done = ranks(ended(0, 0, COMMITTED), ended(1, 0, DONE), ended(2, 0, DONE), finished="Complete")
    after, _ = step(subject, done, seconds=2)
    assert is_true(after.status.conditions, ConditionType.COMPLETE) and after.status.output == OUTPUT


def test_the_deadline_does_not_wait_for_anybody() -> None:
    subject = started(activeDeadlineSeconds=60)
    sight = ranks(running(0), ended(1, 0, DONE, when=at(59)), running(2))
    _, decision = step(subject, sight, seconds=61)
    assert stopped(decision) == (1,)


def test_the_cluster_is_ready_when_all_pods_are() -> None:
    begun = started()
    early, _ = step(begun, ranks(running(0), running(1), pod(2)), seconds=SLOW_SECONDS - 1)
    assert told(early, "ClusterReady") == ("False", "Starting")
    assert condition(early, "ClusterReady").message == "waiting for 3 pods"
    assert early.status == begun.status, "each count would be a write, and most sets are complete in a moment"
    subject, _ = step(early, ranks(running(0), running(1), pod(2)), seconds=SLOW_SECONDS)
    assert told(subject, "ClusterReady") == ("False", "Starting")
    assert condition(subject, "ClusterReady").message.startswith("2 of 3 pods ready")
    subject, _ = step(subject, ranks(running(0), running(1), running(2)), seconds=SLOW_SECONDS + 1)
    assert told(subject, "ClusterReady") == ("True", "AllRanksJoined")
    assert condition(subject, "ClusterReady").message == "3 of 3 pods ready"


@pytest.mark.parametrize(
    ("held", "reason", "words"),
    [
        pytest.param({"unschedulable": "0/2 nodes: no GPU"}, "Unschedulable", "0/2 nodes: no GPU", id="no node"),
        pytest.param(
            {"waiting": Waiting(reason="ErrImagePull", message="no such tag")}, "ImagePullFailed", "no such tag",
            id="no image on one node",
        ),
    ],
)  # fmt: skip
def test_one_pod_of_a_set_that_cannot_start_is_named(held: dict[str, Any], reason: str, words: str) -> None:
    subject, _ = step(started(), ranks(running(0, ready=False), running(1, ready=False), pod(2, **held)), seconds=1)
    assert told(subject, "ClusterReady") == ("False", reason)
    assert condition(subject, "ClusterReady").message == f"pod {name(2)}: {words}"
    late, decision = step(subject, ranks(running(0, ready=False), pod(2, **held)), seconds=601)
    message = late.status.attempts[-1].message or ""
    assert stopped(decision) == (1,) and name(2) in message and words in message


def test_what_cannot_get_better_is_told_first_whichever_pod_it_holds_up() -> None:
    wrong = pod(2, waiting=Waiting(reason="InvalidImageName", message="no name"))
    _, decision = step(started(), ranks(pod(0, unschedulable="later"), pod(1), wrong), seconds=1)
    assert (
        decision.status.attempts[-1].reason == F.IMAGE_PULL_FAILED and name(2) in decision.status.attempts[-1].message
    )


def test_a_slow_pod_that_holds_up_the_others_is_named_and_at_the_deadline_too() -> None:
    subject = started()
    slow = pod(2, waiting=Waiting(reason="ContainerCreating"))
    sight = ranks(running(0, ready=False), running(1, ready=False), slow)
    early, decision = step(subject, sight, seconds=1)
    assert name(2) not in condition(early, "ClusterReady").message
    assert decision.requeue_after <= SLOW_SECONDS, "nobody else tells when it has become slow"
    later, _ = step(early, sight, seconds=SLOW_SECONDS)
    assert (
        condition(later, "ClusterReady").message == f"0 of 3 pods ready; not running yet: pod {name(2)} on node node-2"
    )
    dead, _ = step(later, sight, seconds=601)
    message = dead.status.attempts[-1].message or ""
    assert f"pod {name(2)} on node node-2: ContainerCreating" in message and "0 of 3 were" in message


def test_the_readiness_of_a_large_set_is_told_in_few_steps() -> None:
    texts = [count(ready, 500) for ready in range(501)]
    assert len(set(texts)) == 5, "each text is a write"
    assert texts[0] == "less than 125 of 500 pods ready" and texts[499] == "at least 375 of 500 pods ready"
    assert texts[500] == "500 of 500 pods ready"
    assert [count(ready, 3) for ready in range(4)] == [f"{ready} of 3 pods ready" for ready in range(4)]


def test_a_set_that_was_ready_too_shortly_to_be_seen_was_ready_all_the_same() -> None:
    report = GPU_OOM.model_copy(update={"joined": at(-7200)})
    sight = ranks(ended(0, 1, report), ended(1, 1, report), ended(2, 1, report), finished="Failed")
    subject, _ = step(started(), sight, seconds=20)
    assert subject.status.attempts[-1].ready == at(20), "when it was seen; its nodes' clocks say what they like"
    never = ranks(*(ended(i, 1, GPU_OOM) for i in range(3)), finished="Failed")
    assert step(started(), never, seconds=20)[0].status.attempts[-1].ready is None


def test_progress_tells_of_ranks_and_gpus() -> None:
    seen = Progress(phase=Phase.RUNNING, ranks=3, spilled_bytes=5, gpu_memory_peak=7, gpu_utilization=90)
    sight = ranks(running(0), running(1), running(2))
    subject, _ = step(started(), sight, seconds=1, reading=Reading(at=NOW, progress=seen))
    told_now = subject.status.progress
    assert told_now is not None
    assert (told_now.ranks, told_now.spilled_bytes, told_now.gpu_memory_peak, told_now.gpu_utilization) == (3, 5, 7, 90)
    one, _ = step(started(), sight, reading=Reading(at=NOW, progress=Progress(phase=Phase.RUNNING)))
    assert one.status.progress is not None and one.status.progress.ranks is None, "one process says nothing of ranks"


def test_an_attempt_after_lack_of_gpu_memory_has_half_the_partitions_and_its_event_says_so() -> None:
    from gpuquery.reconcile.report.events import notes

    subject = started(executorOptions={"target_partition_size": "1GB"})
    sight = ranks(*(ended(i, 1, GPU_OOM) for i in range(3)), finished="Failed")
    failed, _ = step(subject, sight, seconds=1)
    assert failed.status.attempts[-1].reason == F.GPU_OUT_OF_MEMORY
    again, decision = step(failed, sight, seconds=100)
    assert again.status.attempt == 2 and again.status.attempts[-1].partition_bytes == 500_000_000
    plan = next(o for o in decision.creates if o["kind"] == "ConfigMap")["data"]["plan.json"]
    assert '"target_partition_size":500000000' in plan
    (note,) = (n for n in notes(failed.status, again.status) if n.event == "AttemptStarted")
    assert "partitions of 500,000,000 bytes" in note.message


@pytest.mark.parametrize(
    ("size", "failures", "want"),
    [
        pytest.param("1GB", 1, 500_000_000, id="half"),
        pytest.param("1GB", 3, 125_000_000, id="an eighth after three"),
        pytest.param("1GB", 9, 64 << 20, id="never below 64 MiB"),
        pytest.param("1MB", 2, 1_000_000, id="what is smaller already stays"),
    ],
)
def test_partitions_after_lack_of_gpu_memory(size: str, failures: int, want: int) -> None:
    from gpuquery.plan.plan import Plan
    from gpuquery.plan.resolve import resolve

    failed = tuple(AttemptStatus(id=n, started=NOW, reason=F.GPU_OUT_OF_MEMORY) for n in range(1, failures + 1))
    subject = kube.job(
        **SET, executorOptions={"target_partition_size": size}, status=GpuQueryJobStatus(attempts=failed)
    )
    plan = resolve(subject, GPUS)
    assert isinstance(plan, Plan) and plan.executor_options["target_partition_size"] == want


@pytest.mark.parametrize("pods", [1, 3, 40])
async def test_a_set_of_any_size_costs_two_writes_more_than_one_pod(pods: int) -> None:
    client = RecordingClient()
    store(client, **{**SET, "workers": {"replicas": pods, "gpus": 2}})
    subject = operator(client, Reading(at=NOW, progress=Progress(phase=Phase.RUNNING, ranks=pods)), defaults=GPUS)
    await subject.reconcile(KEY)
    for status in ({"phase": "Pending"}, {"phase": "Running"}, READY, READY):
        for index in range(pods):
            client.pod(1, status, index=index)
        await subject.reconcile(KEY)
    for report in (COMMITTED, COMMITTED):
        for index in range(pods):
            client.pod(1, ended_status(report if index == 0 else DONE, 0), index=index)
        await subject.reconcile(KEY)
    assert is_true(current(client).status.conditions, "Complete")
    assert Counter(client.writes) == {
        "create ConfigMap": 1, "create Service": 1, "create Secret": 1, "create NetworkPolicy": 1, "create Job": 1,
        "apply status": 3, "event Planned": 1, "event AttemptStarted": 1, "event Complete": 1,
    }  # fmt: skip


async def test_the_token_is_drawn_when_the_secret_is_made_and_never_again() -> None:
    client = RecordingClient()
    store(client, **SET)
    await operator(client, defaults=GPUS).reconcile(KEY)
    (secret_name,) = client.names(Resource.SECRETS)
    token = client.objects[Resource.SECRETS, secret_name]["stringData"][TOKEN_KEY]
    assert len(bytes.fromhex(token)) == 32
    _, decision = kube.step(kube.job(**SET), defaults=GPUS)
    assert await create(client, decision.creates) is None
    assert client.objects[Resource.SECRETS, secret_name]["stringData"][TOKEN_KEY] == token
    other = RecordingClient()
    assert await create(other, decision.creates) is None
    assert other.objects[Resource.SECRETS, secret_name]["stringData"][TOKEN_KEY] != token


async def test_nothing_of_an_earlier_set_stays() -> None:
    client = RecordingClient()
    store(client, **SET)
    await operator(client, defaults=GPUS).reconcile(KEY)
    for index in range(3):
        client.pod(1, ended_status(failed_report(F.EVICTED), 1), index=index)
    kinds = (Resource.SECRETS, Resource.SERVICES, Resource.CONFIG_MAPS, Resource.BATCH_JOBS)
    for _ in range(3):
        for attempt in client.objects[Resource.JOBS, "revenue"]["status"]["attempts"]:
            if attempt.get("ended"):
                attempt["ended"] = "2020-01-01T00:00:00Z"
        await operator(client, defaults=GPUS).reconcile(KEY)
    assert current(client).status.attempt == 2
    for kind in kinds:
        assert client.names(kind) == ["revenue-0a1b2-2"], kind
    assert client.names(Resource.NETWORK_POLICIES) == ["revenue-0a1b2"], "one for all of them"


class Events(RecordingClient):
    """A kubelet that misses the Secret."""

    async def list(self, resource: Resource, namespace: str | None, **how: Any) -> list[Any]:
        if resource is Resource.CORE_EVENTS and "FailedMount" in how.get("fields", ""):
            gone = not self.names(Resource.SECRETS)
            text = 'MountVolume.SetUp failed for volume "token" : secret "revenue-0a1b2-1" not found'
            return [{"message": text}] if gone else []
        return await super().list(resource, namespace, **how)


@pytest.mark.parametrize("kind", [Resource.SECRETS, Resource.NETWORK_POLICIES, Resource.SERVICES])
async def test_what_someone_deleted_is_made_again_while_the_set_starts(kind: Resource) -> None:
    client = Events()
    store(client, **SET)
    await operator(client, defaults=GPUS).reconcile(KEY)
    for index in range(2):
        client.pod(1, {"phase": "Running"}, index=index)
    client.pod(1, {"phase": "Pending"}, index=2)
    client.objects[Resource.PODS, "revenue-0a1b2-1-2-x"]["spec"] = {"nodeName": "node-2"}
    name = "revenue-0a1b2" if kind is Resource.NETWORK_POLICIES else "revenue-0a1b2-1"
    del client.objects[kind, name]
    subject = operator(client, defaults=GPUS, seconds=6)
    subject = replace(subject, reader=NoProgress())
    await subject.reconcile(KEY)
    assert client.names(kind) == [name]
    client.writes = []
    await subject.reconcile(KEY)
    assert client.writes == []
