"""An attempt with a DaskCluster from start to end: who is waited for, what ends it, when nothing of it is left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.conditions import is_true
from gpuquery.api.reasons import Failure, Reason
from gpuquery.api.report import Phase, Progress
from gpuquery.api.timing import OPERATOR_COMMIT_SECONDS
from gpuquery.kube.progress import Reading
from gpuquery.plan.defaults import Defaults
from gpuquery.reconcile.observe.model import Attempt, DaskCluster, Exit, Pod, Refusal, Scheduler, Waiting
from gpuquery.reconcile.policy.actions import DeleteDask
from gpuquery.reconcile.policy.startup import SLOW_SECONDS
from tests.support import kube_objects as kube
from tests.support.kube_objects import COMMITTED, NOW, at, condition, failed_report, stopped, told

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.decide.job import Decision

F = Failure
DASK = Defaults(
    runtime_image="runtime:test", runtime_image_pattern="rt:{release}", dask_operator=True, dask_attach=True
)
SPEC: dict[str, Any] = {
    "engine": "rapidsmpf", "dask": {"backend": "operator"}, "workers": {"replicas": 2}, "preflight": "never",
}  # fmt: skip
NAME = "revenue-0a1b2-1"


def step(subject: GpuQueryJob, *attempts: Attempt, seconds: float = 0, **facts: Any) -> Any:
    return kube.step(subject, kube.seen(*attempts, **facts), seconds=seconds, defaults=DASK)


def taken(decision: Decision) -> list[DeleteDask]:
    """Return which parts of a DaskCluster are deleted."""
    return [each for each in decision.actions if isinstance(each, DeleteDask)]


def started(**spec: Any) -> GpuQueryJob:
    found: GpuQueryJob = kube.step(kube.job(**{**SPEC, **spec}), defaults=DASK)[0]
    return found


def part(name: str, number: int = 0, **facts: Any) -> Pod:
    made = {"name": f"{NAME}-{name}-{number}", "part": name, "phase": "Running", "ready": True}
    return kube.pod(**{**made, "uid": f"{name}{number}", "node": f"node-{number}", **facts})


SCHEDULER = part("scheduler")
WORKERS = (part("worker", 0), part("worker", 1))


def cluster(*pods: Pod, **facts: Any) -> DaskCluster:
    """Build the attempt's DaskCluster; `deleting` is when its deletion was seen."""
    if since := facts.pop("deleting", None):
        facts |= {"deleting": True, "deleting_seen": since}
    return DaskCluster(**{"name": NAME, "uid": "d1", "workers": 2, "pods": pods, **facts})


def with_cluster(*own: Pod, dask: DaskCluster, **facts: Any) -> Attempt:
    return kube.attempt(*own, dask=dask, **facts)


def whole(*own: Pod, **facts: Any) -> Attempt:
    return with_cluster(*own, dask=cluster(SCHEDULER, *WORKERS, **facts))


def ready(seconds: float = 1) -> GpuQueryJob:
    """A job whose cluster is complete."""
    found: GpuQueryJob = step(started(), whole(kube.running()), seconds=seconds)[0]
    assert told(found, "ClusterReady")[0] == "True"
    return found


STARTING: list[Any] = [
    pytest.param(with_cluster(kube.running(), dask=cluster()),
                 "has made no scheduler", id="nothing yet"),
    pytest.param(with_cluster(kube.running(), dask=cluster(SCHEDULER, WORKERS[0])), "pods of 1 of 2 workers",
                 id="a worker is missing"),
    pytest.param(with_cluster(kube.running(), dask=cluster(replace(SCHEDULER, ready=False), *WORKERS)),
                 "scheduler is not ready, 2 of 2", id="the scheduler does not answer"),
    pytest.param(with_cluster(kube.pod(phase="Pending"), dask=cluster(SCHEDULER, *WORKERS)), "0 of 1 pods ready",
                 id="the client is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("sight", "words"), STARTING)
def test_a_cluster_is_ready_when_client_scheduler_and_all_workers_are(sight: Attempt, words: str) -> None:
    begun = started()
    early, decision = step(begun, sight, seconds=1)
    assert told(early, "ClusterReady") == ("False", "Starting")
    assert condition(early, "ClusterReady").message == "waiting for 1 pod, the Dask scheduler and 2 Dask workers"
    assert early.status == begun.status and decision.requeue_after <= SLOW_SECONDS
    subject, _ = step(early, sight, seconds=SLOW_SECONDS)
    assert told(subject, "ClusterReady")[0] == "False"
    assert words in condition(subject, "ClusterReady").message
    assert subject.status.attempts[-1].ready is None


def test_a_complete_cluster_is_ready_and_stays_so_while_a_query_holds_its_workers() -> None:
    subject = ready()
    assert subject.status.attempts[-1].ready == at(1)
    again, decision = step(subject, whole(kube.running()), seconds=60)
    assert told(again, "ClusterReady")[0] == "True" and not taken(decision) and not stopped(decision)


HELD: list[Any] = [
    pytest.param(
        part("worker", 1, phase="Pending", ready=False, unschedulable="0/3 nodes: Insufficient nvidia.com/gpu"),
        ("Unschedulable", f"pod {NAME}-worker-1: 0/3 nodes"), id="no node has a GPU",
    ),
    pytest.param(
        part("worker", 1, phase="Pending", ready=False, waiting=Waiting(reason="ErrImagePull", message="no such tag")),
        ("ImagePullFailed", "no such tag"), id="no image",
    ),
    pytest.param(
        part("scheduler", 1, phase="Pending", waiting=Waiting(reason="CreateContainerConfigError",
             message='secret "lake" not found')),
        ("SecretNotFound", "lake"), id="no credentials",
    ),
    pytest.param(
        part("worker", 1, ready=False, waiting=Waiting(reason="CrashLoopBackOff"),
             last=Exit(code=1, words="...\nOSError: Timed out trying to connect to ucx://s:8786\n")),
        ("ContainerCannotStart", "Dask worker ended with exit code 1: OSError: Timed out"), id="it ends at once",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("pod", "want"), HELD)
def test_what_holds_a_pod_of_the_daskcluster_up_is_told_whatever_its_phase(pod: Pod, want: tuple[str, str]) -> None:
    subject, _ = step(started(), with_cluster(kube.running(), dask=cluster(SCHEDULER, pod)), seconds=2)
    assert told(subject, "ClusterReady") == ("False", want[0]) and want[1] in condition(subject, "ClusterReady").message


def test_a_worker_without_a_gpu_ends_the_attempt_at_once_with_its_own_words() -> None:
    words = "Traceback ...\npynvml.NVMLError_LibraryNotFound: NVML Shared Library Not Found"
    pod = part("worker", 0, last=Exit(code=1, words=words, seen=NOW))
    subject, decision = step(started(), with_cluster(kube.running(), dask=cluster(SCHEDULER, pod)), seconds=2)
    last = subject.status.attempts[-1]
    assert last.reason == F.NO_GPU and "NVML Shared Library Not Found" in (last.message or "")
    assert stopped(decision) == (1,) and taken(decision) == [DeleteDask(NAME, "d1")]


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ((), f"has made no scheduler for DaskCluster {NAME}: is its operator running"),
        ((SCHEDULER, WORKERS[0]), "has made pods of 1 of 2 workers"),
    ],
)
def test_an_operator_that_does_nothing_is_named_after_a_while_and_at_the_deadline(
    pods: tuple[Pod, ...], words: str
) -> None:
    sight = with_cluster(kube.running(), dask=cluster(*pods))
    early, _ = step(started(), sight, seconds=SLOW_SECONDS - 1)
    assert told(early, "ClusterReady") == ("False", "Starting")
    late, _ = step(early, sight, seconds=SLOW_SECONDS)
    assert told(late, "ClusterReady") == ("False", "DaskClusterNotHandled")
    assert words in condition(late, "ClusterReady").message
    over, decision = step(late, sight, seconds=600)
    assert over.status.attempts[-1].reason == F.START_DEADLINE_EXCEEDED
    assert words in (over.status.attempts[-1].message or "") and taken(decision) == [DeleteDask(NAME, "d1")]


def test_a_daskcluster_that_somebody_removes_while_it_starts_is_made_again() -> None:
    _, decision = step(started(), with_cluster(kube.running(), dask=cluster(there=False)), seconds=3)
    assert [o["kind"] for o in decision.creates] == ["DaskCluster"]


FULL = part(
    "worker", 1, phase="Failed", ready=False, reason="Evicted", over_seen=at(20),
    message='Usage of EmptyDir volume "scratch" exceeds the limit "256Mi".',
    exit=Exit(code=137, reason="ContainerStatusUnknown"),
)  # fmt: skip
"""As the kubelet leaves it: the container's end has no time."""

LOSSES: list[Any] = [
    pytest.param(
        cluster(SCHEDULER, *WORKERS, deleting=at(20)), F.WORKER_LOST, "was deleted by someone else", id="deleted"
    ),
    pytest.param(
        cluster(SCHEDULER, WORKERS[0], part("worker", 1, last=Exit(code=139, seen=at(20), words="core dumped"))),
        F.WORKER_LOST, "worker-1 ended with exit code 139 while the query ran: core dumped", id="a worker crashed",
    ),
    pytest.param(
        cluster(SCHEDULER, WORKERS[0], part("worker", 1, last=Exit(code=137, reason="OOMKilled", seen=at(20)))),
        F.HOST_OUT_OF_MEMORY, "raise memory in workers.resources", id="the OOM killer took one",
    ),
    pytest.param(
        cluster(SCHEDULER, WORKERS[0], part("worker", 1, last=Exit(
            code=70, seen=at(20), words="gpuquery: the Dask worker with process id 7 hangs\n warnings.warn('leak')"
        ))),
        F.WORKER_LOST, "exit code 70 while the query ran: the Dask worker with process id 7 hangs", id="a worker hung",
    ),
    pytest.param(
        cluster(part("scheduler", last=Exit(code=1, seen=at(20))), *WORKERS), F.WORKER_LOST,
        "Dask scheduler", id="the scheduler ended",
    ),
    pytest.param(
        cluster(SCHEDULER, WORKERS[0], part("worker", 2, seen=at(20))), F.WORKER_LOST,
        "takes the place of a pod that is gone", id="a pod was replaced",
    ),
    pytest.param(
        cluster(SCHEDULER, WORKERS[0], part("worker", 1, phase="Failed", ready=False, disruption="EvictionByEviction",
                exit=Exit(code=143, seen=at(20)))),
        F.EVICTED, "was taken away", id="a node was drained",
    ),
    pytest.param(
        cluster(SCHEDULER, part("worker", 2, seen=at(20)), WORKERS[0], FULL), F.SCRATCH_FULL,
        "exceeds the limit", id="the kubelet has taken a worker away whose disk is full",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("dask", "want", "words"), LOSSES)
def test_a_loss_ends_the_attempt_after_the_client_had_its_time(dask: DaskCluster, want: Failure, words: str) -> None:
    subject = ready()
    sight = with_cluster(kube.running(), dask=dask)
    _, soon = step(subject, sight, seconds=20 + OPERATOR_COMMIT_SECONDS - 1)
    assert not soon.actions, "it may be committing what the workers have done"
    assert soon.requeue_after == 1, "nobody else tells that its time is over"
    over, decision = step(subject, sight, seconds=20 + OPERATOR_COMMIT_SECONDS)
    last = over.status.attempts[-1]
    assert last.reason == want and words in (last.message or "") and stopped(decision) == (1,)
    assert taken(decision) == ([DeleteDask(NAME, "d1")] if dask.there else [])


def test_a_daskcluster_that_is_gone_ends_the_attempt() -> None:
    over, decision = step(ready(), with_cluster(kube.running(), dask=cluster(there=False)), seconds=20)
    assert over.status.attempts[-1].reason == F.WORKER_LOST and decision.creates == ()


def test_one_of_another_job_is_not_touched() -> None:
    sight = with_cluster(kube.running(), dask=cluster(ours=False))
    over, decision = step(started(), sight, seconds=1)
    assert over.status.attempts[-1].reason == F.CLUSTER_UNAVAILABLE and not taken(decision)
    assert "not this job's" in (over.status.attempts[-1].message or "")
    gone = with_cluster(dask=cluster(ours=False), batch_job=None)
    assert step(over, gone, seconds=5)[0].status.failure == F.CLUSTER_UNAVAILABLE, "and nobody waits for it to go"
    assert is_true(step(over, gone, seconds=5)[0].status.conditions, "Failed")


def test_a_large_cluster_that_grows_costs_few_writes() -> None:
    def seen_with(workers: int) -> str:
        pods = (part("worker", index) for index in range(workers))
        sight = with_cluster(kube.running(), dask=cluster(SCHEDULER, *pods, workers=100))
        return condition(step(started(), sight, seconds=60)[0], "ClusterReady").message

    assert len({seen_with(workers) for workers in range(100)}) <= 5


def test_a_client_that_misses_a_worker_is_told_of_its_full_disk() -> None:
    lost = kube.ended(1, failed_report(F.WORKER_LOST, "worker 1 left"), finished=at(21))
    sight = with_cluster(lost, dask=cluster(SCHEDULER, WORKERS[0], part("worker", 2, seen=at(20)), FULL))
    over, _ = step(ready(), sight, seconds=30)
    assert over.status.attempts[-1].reason == F.SCRATCH_FULL


def test_what_a_client_only_misses_is_explained_by_the_pod_that_had_it() -> None:
    lost = kube.ended(1, failed_report(F.WORKER_LOST, "worker 1 left"), finished=at(21))
    killed = part("worker", 1, last=Exit(code=137, reason="OOMKilled", seen=at(20)))
    sight = with_cluster(lost, dask=cluster(SCHEDULER, WORKERS[0], killed))
    over, _ = step(ready(), sight, seconds=30)
    last = over.status.attempts[-1]
    assert (last.reason, last.node) == (F.HOST_OUT_OF_MEMORY, "node-1")
    named = kube.ended(1, failed_report(F.GPU_OUT_OF_MEMORY, "CUDA"), finished=at(21))
    firm, _ = step(ready(), with_cluster(named, dask=sight.dask or cluster()), seconds=30)
    assert firm.status.attempts[-1].reason == F.GPU_OUT_OF_MEMORY, "who names a cause is believed"


# --- The end: no pod of it is alive before the job says so.


def done(**dask: Any) -> Attempt:
    own = kube.ended(0, COMMITTED)
    pods = dask.pop("pods", (SCHEDULER, *WORKERS))
    return with_cluster(own, dask=cluster(*pods, **dask), batch_job=kube.batch(finished="Complete"))


def replace_dask(attempt: Attempt, **dask: Any) -> Attempt:
    assert attempt.dask is not None
    return replace(attempt, dask=replace(attempt.dask, **dask))


def test_a_commit_lets_the_workers_go_and_only_then_is_the_job_complete() -> None:
    subject, decision = step(ready(), done(), seconds=10)
    assert taken(decision) == [DeleteDask(NAME, "d1")] and not stopped(decision), "the report lies with the Job's pod"
    assert not is_true(subject.status.conditions, "Complete") and subject.status.state == "Finishing"
    leaving, decision = step(subject, done(deleting=at(10), collecting=True, groups=("w",)), seconds=12)
    assert not taken(decision) and not is_true(leaving.status.conditions, "Complete")
    for kept in ({"collecting": True}, {"groups": ("w",)}):
        quick, _ = step(leaving, done(deleting=at(10), pods=(), **kept), seconds=13)
        assert not is_true(quick.status.conditions, "Complete"), "a Deployment would make another pod"
    over, _ = step(quick, done(deleting=at(10), pods=()), seconds=14)
    assert is_true(over.status.conditions, "Complete"), "the object itself may wait for its finalizer"


def test_a_worker_group_that_was_not_tied_to_its_cluster_keeps_no_gpu() -> None:
    subject, _ = step(ready(), done(), seconds=10)
    tied = done(deleting=at(10), collecting=True, groups=("g",))
    assert not taken(step(subject, tied, seconds=99)[1]), "the garbage collector takes it"
    told_, decision = step(subject, replace_dask(tied, untied=("g",)), seconds=11)
    assert taken(decision) == [DeleteDask(NAME, groups=("g",))]
    assert "DaskWorkerGroup g would stay" in condition(told_, "ClusterReady").message
    orphans = done(there=False, groups=("g",), untied=("g",))
    assert taken(step(subject, orphans, seconds=11)[1]) == [DeleteDask(NAME, groups=("g",))], "nobody else will"


def test_a_cluster_that_somebody_deleted_in_the_background_is_deleted_in_the_foreground() -> None:
    subject, _ = step(ready(), done(), seconds=10)
    assert taken(step(subject, done(deleting=at(10)), seconds=11)[1]) == [DeleteDask(NAME, "d1")]
    assert taken(step(subject, done(deleting=at(10), pods=(), groups=("g",)), seconds=11)[1]) == [
        DeleteDask(NAME, "d1")
    ]
    assert not taken(step(subject, done(deleting=at(10), collecting=True), seconds=99)[1]), "once is enough"
    assert not taken(step(subject, done(deleting=at(10), pods=()), seconds=99)[1])


def test_a_failed_attempt_is_over_when_its_workers_are() -> None:
    failed = kube.ended(1, failed_report(F.USER_ERROR), finished=at(9))
    subject, decision = step(ready(), with_cluster(failed, dask=cluster(SCHEDULER, *WORKERS)), seconds=30)
    assert taken(decision) == [DeleteDask(NAME, "d1")] and not is_true(subject.status.conditions, "Failed")
    over, _ = step(subject, with_cluster(failed, dask=cluster(deleting=at(30))), seconds=32)
    assert is_true(over.status.conditions, "Failed") and over.status.failure == F.USER_ERROR


def test_no_attempt_begins_while_a_worker_of_the_last_one_lives() -> None:
    failed = kube.ended(1, failed_report(F.STORAGE_UNAVAILABLE), finished=at(9))
    subject, _ = step(ready(), with_cluster(failed, dask=cluster(deleting=at(8))), seconds=30)
    straggler = with_cluster(failed, dask=DaskCluster(name="", pods=(WORKERS[0],)))
    assert step(subject, straggler, seconds=60)[1].creates == ()
    kinds = [o["kind"] for o in step(subject, with_cluster(failed, dask=cluster()), seconds=60)[1].creates]
    assert kinds == ["NetworkPolicy", "DaskCluster", "Job", "ConfigMap"]


def test_a_cluster_without_dask_kubernetes_refuses_the_job_for_good() -> None:
    refusal = Refusal(
        reason=Reason.CREATION_REFUSED,
        message="no DaskClusters: install",
        permanent=True,
        failure=F.CLUSTER_UNAVAILABLE,
    )
    subject, _ = kube.step(kube.job(**SPEC), kube.seen(refusal=refusal), defaults=DASK)
    assert is_true(subject.status.conditions, "Failed") and subject.status.failure == F.CLUSTER_UNAVAILABLE


# --- A cluster that the job names.

WARM: dict[str, Any] = {"engine": "rapidsmpf", "dask": {"clusterRef": {"name": "warm"}}, "preflight": "never"}
GPU = frozenset({"nvidia.com/gpu", "memory"})
HERE = "ucx://warm-scheduler.marts.svc:8786"


def warm(scheduler: Scheduler | None, seconds: float = 0, **spec: Any) -> Any:
    subject = kube.job(**{**WARM, **spec})
    return kube.step(subject, kube.seen(scheduler=scheduler), seconds=seconds, defaults=DASK)


def test_a_warm_cluster_is_used_where_its_scheduler_is() -> None:
    _, decision = warm(Scheduler(address=HERE, workers=(GPU, GPU)))
    (plan,) = [o["data"]["plan.json"] for o in decision.creates if o["kind"] == "ConfigMap"]
    assert f'"scheduler":"{HERE}"' in plan
    assert [o["kind"] for o in decision.creates] == ["NetworkPolicy", "Job", "ConfigMap"]


def test_one_that_is_not_there_yet_is_waited_for_until_the_start_deadline() -> None:
    missing = Scheduler(missing='dask.clusterRef.name is "warm", and it is being deleted')
    subject, decision = warm(missing)
    assert told(subject, "Accepted") == ("False", "Pending") and decision.creates == () and decision.requeue_after
    assert "being deleted" in condition(subject, "Accepted").message
    over, _ = kube.step(subject, kube.seen(scheduler=missing), seconds=600, defaults=DASK)
    assert over.status.failure == F.CLUSTER_UNAVAILABLE
    assert "startDeadlineSeconds (600 s)" in condition(over, "Failed").message


def test_a_job_that_waits_for_another_one_says_so_and_so_does_its_end() -> None:
    subject, _ = warm(Scheduler(address=HERE, workers=(GPU,)))
    waits = "the Dask cluster at tcp://x is used by the job marts/other: waiting for it"
    said = Reading(at=at(3), progress=Progress(phase=Phase.PLANNING, waits_for=waits))
    client = kube.attempt(kube.running(ready=False))
    subject, decision = step(subject, client, reading=said, seconds=3)
    assert told(subject, "ClusterReady") == ("False", "DaskClusterInUse")
    assert condition(subject, "ClusterReady").message == waits and told(subject, "Running")[0] == "False"
    assert decision.requeue_after == 5, "nobody else tells when it is over"
    same, decision = step(subject, client, seconds=4)
    assert same.status == subject.status, "it is asked every few seconds only, and each change is a write"
    over, _ = step(same, client, seconds=600)
    ended, _ = step(over, kube.attempt(kube.ended(1), batch_job=None), seconds=640)
    assert ended.status.failure == F.START_DEADLINE_EXCEEDED
    assert "marts/other" in condition(ended, "Failed").message
    free = Reading(at=at(8), progress=Progress(phase=Phase.PLANNING))
    on, _ = step(same, client, reading=free, seconds=8)
    assert told(on, "ClusterReady") == ("False", "Starting")


NEVER: list[Any] = [
    pytest.param(Scheduler(unfit="this cluster has no DaskClusters"), "no DaskClusters", id="not installed"),
    pytest.param(
        Scheduler(address=HERE, workers=(frozenset({"memory"}),)), "none with a GPU (nvidia.com/gpu)", id="on CPUs"
    ),
]


@pytest.mark.parametrize(("scheduler", "words"), NEVER)
def test_one_that_will_never_do_is_refused_at_once(scheduler: Scheduler, words: str) -> None:
    subject, _ = warm(scheduler)
    assert subject.status.failure == F.CLUSTER_UNAVAILABLE and words in condition(subject, "Failed").message


def test_workers_that_are_still_to_come_and_shares_of_gpus() -> None:
    assert "scale it up" in condition(warm(Scheduler(address=HERE))[0], "Accepted").message
    shares = Scheduler(address=HERE, workers=(frozenset({"nvidia.com/mig-1g.10gb"}),))
    assert warm(shares)[1].creates


def test_between_two_attempts_the_cluster_may_come_back_and_the_status_keeps_why() -> None:
    subject, _ = warm(Scheduler(address=HERE, workers=(GPU,)))
    lost = kube.attempt(kube.ended(1, failed_report(F.WORKER_LOST), finished=at(1)))
    subject, _ = step(subject, lost, seconds=20)
    missing = Scheduler(missing="its scheduler is not ready")
    waiting, decision = step(subject, lost, scheduler=missing, seconds=60)
    assert decision.creates == () and decision.requeue_after and waiting.status.state == "Retrying"
    assert step(waiting, lost, scheduler=Scheduler(address=HERE, workers=(GPU,)), seconds=65)[1].creates
    over, _ = step(waiting, lost, scheduler=missing, seconds=700)
    assert over.status.failure == F.CLUSTER_UNAVAILABLE
