"""Clocks of other machines: whatever they show, the operator does the same at the same time by its own."""

from __future__ import annotations

import copy
import re
import zlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.conditions import is_terminal, is_true
from gpuquery.api.labels import LABEL_ATTEMPT, LABEL_PREFLIGHT
from gpuquery.api.reasons import Failure
from gpuquery.api.timing import PHASE_SECONDS
from gpuquery.kube.client import Manifest, Resource
from gpuquery.reconcile.observe.sightings import Sightings
from tests.support.examples import examples
from tests.support.kube_objects import CHECKED, COMMITTED, DEFAULTS, NOW, at, failed_report, seen
from tests.support.kube_objects import attempt as attempt_of
from tests.support.kube_objects import ended as ended_pod
from tests.support.recording import RecordingClient
from tests.unit.reconcile.test_dask_reconciler import DASK, SPEC
from tests.unit.reconcile.test_reconciler import KEY, READING, current, operator, store

if TYPE_CHECKING:
    from collections.abc import Sequence

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
T = NOW.isoformat()
HOURS = st.lists(st.integers(-6 * 3600, 6 * 3600), min_size=1, max_size=5)
"""Seconds by which clocks are off."""


def terminated(report: Any, code: int, phase: str) -> dict[str, Any]:
    told = report.model_copy(update={"joined": NOW, "query_started": NOW, "finished": NOW}) if report else None
    end = {"exitCode": code, "startedAt": T, "finishedAt": T, "message": told.to_line() if told else ""}
    conditions = [{"type": "Ready", "status": "False", "lastTransitionTime": T}]
    state = {"name": "runner", "restartCount": 0, "state": {"terminated": end}}
    return {"phase": phase, "startTime": T, "conditions": conditions, "containerStatuses": [state]}


READY = {
    "phase": "Running", "podIP": "10.0.0.9", "startTime": T,
    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": T}],
    "containerStatuses": [{"name": "runner", "state": {"running": {"startedAt": T}}}],
}  # fmt: skip
TAKEN = [{"type": "DisruptionTarget", "status": "True", "reason": "Eviction", "lastTransitionTime": T}]
RESTARTED = {
    **READY,
    "containerStatuses": [{"name": "runner", "restartCount": 1, "state": {"running": {"startedAt": T}},
                           "lastState": {"terminated": {"exitCode": 1, "finishedAt": T}}}],
}  # fmt: skip
LOST, REFUSED = failed_report(Failure.WORKER_LOST), failed_report(Failure.USER_ERROR)
POD_STATES: list[dict[str, Any] | None] = [
    None, {"phase": "Pending", "startTime": T}, READY, READY, {**READY, "conditions": TAKEN}, {"phase": "Failed"},
    {"phase": "Failed", "reason": "OutOfcpu", "message": "no cpu"},
    *(terminated(report, code, phase)
      for report, code in [(COMMITTED, 0), (LOST, 1), (REFUSED, 1), (None, 137), (CHECKED, 0)]
      for phase in ("Running", "Failed" if code else "Succeeded")),
]  # fmt: skip
DASK_STATES = [{"phase": "Pending"}, READY, READY, RESTARTED, terminated(None, 137, "Failed")]
JOB_STATES: list[dict[str, Any] | None] = [
    {}, {}, {"startTime": T}, None,
    {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "lastTransitionTime": T}]},
    {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": T}]},
]  # fmt: skip
LOOKS = st.lists(
    st.tuples(
        st.integers(0, 40), st.sampled_from(POD_STATES), st.sampled_from(JOB_STATES), st.sampled_from(DASK_STATES),
        st.booleans(),
    ),
    min_size=2, max_size=8,
)  # fmt: skip
"""Seconds that pass, what the pod's kubelet tells, the batch Job's status (None: deleted), what a Dask pod's kubelet
tells, and whether the operator is restarted."""
SPECS: list[dict[str, Any]] = [
    {"startDeadlineSeconds": 30, "backoffLimit": 1},
    {"activeDeadlineSeconds": 60},
    {"preflight": "always", "startDeadlineSeconds": 30},
    {"query": {"configMapKeyRef": {"name": "none", "key": "none.sql"}}, "startDeadlineSeconds": 30},
    {**SPEC, "startDeadlineSeconds": 30},
]


class Skewed(RecordingClient):
    """An API server each of whose answers comes with times of clocks that are off, each by another span."""

    def __init__(self, offsets: Sequence[int]) -> None:
        super().__init__()
        self.offsets = offsets

    async def get(
        self, resource: Resource, namespace: str, name: str, *, metadata_only: bool = False
    ) -> Manifest | None:
        found = await super().get(resource, namespace, name, metadata_only=metadata_only)
        return found and self._skewed(found)

    async def list(
        self, resource: Resource, namespace: str | None, *, labels: str = "", fields: str = "", accept: str = ""
    ) -> list[Manifest]:
        return [self._skewed(each) for each in await super().list(resource, namespace, labels=labels, fields=fields)]

    def _skewed(self, manifest: Manifest) -> Manifest:
        # The status of the job holds times of the operator's own clock alone.
        own = (
            {"status": manifest.pop("status")} if manifest.get("kind") == "GpuQueryJob" and "status" in manifest else {}
        )
        moved: Manifest = self._moved(manifest, manifest["metadata"]["name"])
        return {**moved, **own}

    def _moved(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: self._moved(each, f"{path}/{key}") for key, each in value.items()}
        if isinstance(value, list):
            return [self._moved(each, f"{path}/{n}") for n, each in enumerate(value)]
        if not isinstance(value, str) or not TIME.search(value):
            return value
        seconds = self.offsets[zlib.crc32(path.encode()) % len(self.offsets)]
        return TIME.sub(lambda m: (datetime.fromisoformat(m[0]) + timedelta(seconds=seconds)).isoformat(), value)


async def lived(spec: dict[str, Any], looks: Sequence[tuple[Any, ...]], offsets: Sequence[int]) -> list[Any]:
    """Return what an operator did, look by look: its writes, the status, and when it wanted to look again."""
    client = Skewed(offsets)
    store(client, **spec)
    defaults = DASK if "dask" in spec else DEFAULTS
    subject, now, did = operator(client, READING, defaults=defaults), 0, []
    for seconds, pod, batch_job, dask, restarted in looks:
        now += seconds
        if restarted:
            subject = replace(subject, sightings=Sightings())
        told = current(client).status
        is_run = told.attempt is None and told.preflight_run is not None
        number = (told.preflight_run.id if told.preflight_run else 0) if is_run else told.attempt or 0
        label = LABEL_PREFLIGHT if is_run else LABEL_ATTEMPT
        observed(client, str(number), label, pod, batch_job, dask)
        client.writes = []
        again = await replace(subject, clock=lambda now=now: at(now)).reconcile(KEY)
        did.append((client.writes, shown(current(client).status.model_dump()), again))
        if is_terminal(current(client).status.conditions):
            break
    return did


def observed(client: Skewed, number: str, label: str, pod: Any, batch_job: Any, dask: Any) -> None:
    """Let others say what became of the pods and the batch Job of an attempt, or of a run of the preflight."""
    jobs = [
        o for (kind, _), o in client.objects.items()
        if kind is Resource.BATCH_JOBS and o["metadata"]["labels"].get(label) == number
    ]  # fmt: skip
    if not jobs:
        return
    if pod is not None:
        client.pod(int(number), copy.deepcopy(pod), label=label)
    if label == LABEL_ATTEMPT and any(kind is Resource.DASK_CLUSTERS for kind, _ in client.objects):
        for part in ("scheduler", "worker"):
            client.dask_pod(part, copy.deepcopy(READY if part == "scheduler" else dask), number=int(number))
    if batch_job is None:
        del client.objects[Resource.BATCH_JOBS, jobs[0]["metadata"]["name"]]
    else:
        jobs[0]["status"] = batch_job


def shown(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status without the one foreign time that it shows: when a preflight ended, by its own word."""
    if status.get("preflight"):
        status["preflight"].pop("finished", None)
    return status


@examples(80)
@given(st.sampled_from(SPECS), LOOKS, HOURS)
async def test_foreign_clocks_that_are_off_by_hours_change_nothing(
    spec: dict[str, Any], looks: list[tuple[Any, ...]], offsets: list[int]
) -> None:
    assert await lived(spec, looks, offsets) == await lived(spec, looks, [0])


@pytest.mark.parametrize("hours", [-1, 1], ids=["an hour behind", "an hour ahead"])
async def test_a_node_whose_clock_is_off_neither_stalls_nor_hastens_a_retry(hours: int) -> None:
    looks = [(0, None, {}, READY, False), (2, READY, {}, READY, False),
             (5, terminated(None, 137, "Failed"), {}, READY, False)]  # fmt: skip
    did = await lived({"backoffLimit": 1}, looks, [hours * 3600])
    _, status, again = did[-1]
    assert status["attempts"][0]["ended"] == at(7), "when the operator saw it"
    assert 5 <= again <= 6, "the pause counts from then"


async def test_a_pause_that_had_begun_begins_anew_after_a_restart_and_then_ends() -> None:
    lingering = terminated(COMMITTED, 0, "Running")
    looks = [(0, None, {}, READY, False), (2, READY, {}, READY, False), (3, lingering, {}, READY, False),
             (9, lingering, {}, READY, True), (PHASE_SECONDS - 1, lingering, {}, READY, False),
             (2, lingering, {}, READY, False)]  # fmt: skip
    did = await lived({}, looks, [0])
    writes = [each[0] for each in did[2:]]
    assert writes == [[], [], [], ["apply status", "event OutputCommitted"]], "a restart costs no write, and one pause"


UNPLACED = {
    "phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}],
}  # fmt: skip


def held_up(message: str) -> dict[str, Any]:
    """A pod that has its node, and whose container the kubelet cannot start."""
    waiting = {"reason": "CreateContainerConfigError", "message": message}
    return {"phase": "Pending", "containerStatuses": [{"name": "runner", "state": {"waiting": waiting}}]}


MISSING = held_up('secret "lake" not found')


@pytest.mark.parametrize("spec", [{}, {"preflight": "always"}], ids=["of an attempt", "of the preflight"])
@pytest.mark.parametrize(
    ("limit", "waits"),
    [
        pytest.param(600, [(300, UNPLACED, False), (1, MISSING, False), (119, MISSING, False), (1, MISSING, False)],
                     id="the time without a node does not count"),
        pytest.param(600, [(200, held_up('configmap "q" not found'), False), (1, MISSING, False), (119, MISSING, False),
                           (1, MISSING, False)], id="nor does what else was missing before"),
        pytest.param(600, [(1, MISSING, False), (60, held_up('secret "b" not found'), False), (60, MISSING, False)],
                     id="another Secret that is missing is none the less one"),
        pytest.param(350, [(300, UNPLACED, False), (1, MISSING, False), (48, MISSING, False), (1, MISSING, False)],
                     id="the start deadline holds all the same"),
        pytest.param(600, [(1, MISSING, False), (60, MISSING, True), (119, MISSING, False), (1, MISSING, False)],
                     id="it begins anew after a restart"),
    ],
)  # fmt: skip
async def test_a_missing_secret_is_waited_for_from_when_it_was_first_missed(
    spec: dict[str, Any], limit: int, waits: list[tuple[int, dict[str, Any], bool]]
) -> None:
    looks = [(0, None, {}, READY, False), *((seconds, pod, {}, READY, anew) for seconds, pod, anew in waits)]
    did = await lived({**spec, "startDeadlineSeconds": limit}, looks, [0])
    reasons = [(status["attempts"] or [status["preflightRun"]])[-1].get("reason") for _, status, _ in did]
    assert reasons == [None] * len(waits) + [Failure.START_DEADLINE_EXCEEDED]
    assert did[-2][2] <= waits[-1][0], "it wakes up in time"


def test_first_sightings_stay_until_what_was_seen_is_gone() -> None:
    subject, sight = Sightings(), seen(attempt_of(ended_pod(1)))
    for seconds in (0, 7):
        (found,) = subject.noted(KEY, sight, at(seconds)).attempts
        assert found.pods[0].exit and found.pods[0].exit.seen == at(0)
    subject.noted(KEY, seen(), at(8))
    (found,) = subject.noted(KEY, sight, at(9)).attempts
    assert found.pods[0].exit and found.pods[0].exit.seen == at(9), "what comes back is new"
    subject.forget(KEY)
    assert len(subject) == 0


async def test_nothing_is_remembered_of_a_job_that_has_ended_or_is_gone() -> None:
    for end in ("ended", "deleted"):
        client = RecordingClient()
        store(client)
        subject = operator(client, READING)
        await subject.reconcile(KEY)
        client.pod(1, READY)
        await subject.reconcile(KEY)
        assert len(subject.sightings) == 1
        if end == "ended":
            client.pod(1, terminated(COMMITTED, 0, "Succeeded"))
            await subject.reconcile(KEY)
            assert is_true(current(client).status.conditions, "Complete")
        else:
            del client.objects[Resource.JOBS, "revenue"]
        await subject.reconcile(KEY)
        assert len(subject.sightings) == 0


JOINED = [(0, None, {}, READY, False), (2, READY, {}, READY, False)]


@pytest.mark.parametrize(
    ("looks", "want"),
    [
        pytest.param([*JOINED, (5, READY, {}, RESTARTED, False), (36, READY, {}, RESTARTED, False)], "WorkerLost",
                     id="a worker that is started again after all were there is lost"),
        pytest.param([JOINED[0], (2, READY, {}, RESTARTED, False), (60, READY, {}, RESTARTED, False)], None,
                     id="one that was started again before is not"),
        pytest.param([*JOINED, (5, READY, {}, RESTARTED, True), (36, READY, {}, RESTARTED, False)], None,
                     id="one that was started again while no operator ran is left to its client"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("hours", [-3, 0, 3])
async def test_a_dask_worker_is_lost_by_what_the_operator_saw(
    looks: list[tuple[Any, ...]], want: str | None, hours: int
) -> None:
    did = await lived(SPEC, looks, [hours * 3600])
    assert did[-1][1]["attempts"][0]["reason"] == want
