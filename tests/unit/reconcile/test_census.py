"""Census and admission: whose turn it is in a namespace, which finished jobs go, and that nobody waits in vain."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.conditions import find, is_true
from gpuquery.api.reasons import Event, Failure, Reason
from gpuquery.api.status import GpuQueryJobStatus
from gpuquery.app.watch import Jobs, Sightings
from gpuquery.kube.client import ApiError, Resource
from gpuquery.plan.maxima import Maxima, Maximum
from gpuquery.reconcile.census import FIRST_PAUSE, LONGEST_PAUSE, Census
from gpuquery.reconcile.decide.job import decide
from gpuquery.reconcile.metrics import Metrics
from gpuquery.reconcile.observe.head import Sight, head
from gpuquery.reconcile.observe.model import Observed, QueryText, Refusal
from gpuquery.reconcile.policy.admission import surplus, turn
from gpuquery.reconcile.queue import WorkQueue
from gpuquery.reconcile.reconciler import Key, Reconciler
from gpuquery.reconcile.report.events import notes
from tests.support.kube_objects import DEFAULTS, NOW, at, job
from tests.support.recording import NoProgress, RecordingClient

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.decide.job import Decision

TWO = Maximum(2, "the Helm value limits.liveJobsPerNamespace")


@pytest.mark.parametrize(
    ("begun", "earlier", "goes"),
    [
        pytest.param(0, 0, True, id="the only job goes ahead"),
        pytest.param(1, 0, True, id="there is room for one more"),
        pytest.param(1, 1, False, id="and the one that was created before it takes it"),
        pytest.param(2, 0, False, id="no room"),
        pytest.param(5, 0, False, id="the maximum was lowered: those that have begun go on, and nobody else begins"),
    ],
)
def test_whose_turn_it_is(begun: int, earlier: int, goes: bool) -> None:
    found = turn(begun=begun, earlier=earlier, most=TWO)
    assert (found is None) is goes
    if found is not None:
        assert "may have 2 jobs" in found.message and "limits.liveJobsPerNamespace" in found.message


@pytest.mark.parametrize(
    ("later", "most", "goes"),
    [
        pytest.param(2, 3, False, id="the third of three stays"),
        pytest.param(3, 3, True, id="the fourth goes"),
        pytest.param(10_000, 0, False, id="without a limit all stay"),
    ],
)
def test_which_finished_jobs_go(later: int, most: int, goes: bool) -> None:
    assert surplus(later=later, most=most) is goes


def sight(number: int, *, begun: bool = False, ended: str = "", suspended: bool = False) -> Sight:
    created = f"2026-11-21T12:00:{number:02}Z"
    return Sight(uid=f"u{number}", created=created, begun=begun, ended=ended, suspended=suspended)


class Bench:
    """A census of one namespace, and whom it has woken."""

    def __init__(self, **maxima: int) -> None:
        self.now = 0.0
        self.woken: list[str] = []
        self.census = Census(Maxima(**maxima), lambda key: self.woken.append(key[1]), clock=lambda: self.now)
        self.census.all_told(None)

    def saw(self, number: int, **facts: Any) -> None:
        self.census.saw(("marts", f"j{number}"), sight(number, **facts))

    def goes(self, number: int, **annotations: str) -> bool:
        noted = {f"gpuquery.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
        return self.census.turn(("marts", f"j{number}"), sight(number), noted) is None

    def pause(self, number: int) -> float | None:
        return self.census.pause(("marts", f"j{number}"))


def test_jobs_begin_in_the_order_of_their_creation_in_whatever_order_they_are_looked_at() -> None:
    bench = Bench(live_jobs_per_namespace=2)
    for number in (3, 1, 2):
        bench.saw(number)
    assert [bench.goes(number) for number in (3, 2, 1)] == [False, True, True]


def test_a_maximum_is_not_passed_before_the_watch_has_told_what_was_begun() -> None:
    bench = Bench(live_jobs_per_namespace=1)
    bench.saw(2)
    assert bench.goes(2)
    bench.saw(1)
    assert not bench.goes(1), "though it was created first"
    bench.saw(2)
    assert not bench.goes(1), "the status of the other is still to come"


def test_whoever_waits_is_woken_by_an_end_and_by_a_deletion_and_only_who_has_room() -> None:
    bench = Bench(live_jobs_per_namespace=1)
    for number in (1, 2, 3):
        bench.saw(number)
    assert [bench.goes(number) for number in (1, 2, 3)] == [True, False, False]
    bench.woken.clear()
    bench.saw(1, ended="2026-11-21T13:00:00Z")
    assert bench.woken == ["j2"]
    assert bench.pause(2) is None and bench.pause(3) is not None
    assert bench.goes(2)
    bench.census.gone(("marts", "j2"))
    assert bench.woken == ["j2", "j3"] and bench.goes(3)


def test_namespaces_do_not_wait_for_each_other() -> None:
    bench = Bench(live_jobs_per_namespace=1)
    bench.saw(1)
    assert bench.goes(1)
    assert bench.census.turn(("other", "j2"), sight(2), {}) is None


def test_an_annotation_of_the_namespace_wins_and_one_that_is_no_number_does_not_count() -> None:
    bench = Bench(live_jobs_per_namespace=1)
    for number in (1, 2, 3):
        bench.saw(number)
    assert bench.goes(1)
    assert not bench.goes(2, max_live_jobs="many")
    assert bench.goes(2, max_live_jobs="2")
    assert not bench.goes(3, max_live_jobs="2")


def test_pauses_between_looks_at_a_job_that_waits_grow() -> None:
    bench, pauses = Bench(live_jobs_per_namespace=1), []
    bench.saw(1, begun=True)
    bench.saw(2)
    for _ in range(8):
        assert not bench.goes(2)
        left = bench.pause(2)
        assert left is not None
        pauses.append(left)
        bench.now += left
        assert bench.pause(2) is None
    assert pauses == sorted(pauses) and pauses[0] == FIRST_PAUSE and pauses[-1] == LONGEST_PAUSE


def test_nobody_is_called_before_all_jobs_are_known() -> None:
    woken: list[str] = []
    census = Census(Maxima(live_jobs_per_namespace=1), lambda key: woken.append(key[1]))
    census.saw(("marts", "j2"), sight(2))
    census.saw(("marts", "j3"), sight(3, ended="2026-11-21T12:00:09Z"))
    assert not census.complete("marts") and not woken
    census.saw(("marts", "j1"), sight(1))
    census.all_told(None)
    assert census.complete("marts") and woken == ["j1"], "there is room for one, and it is the first"


def test_a_namespace_that_is_never_told_holds_up_no_job_of_another() -> None:
    woken: list[Key] = []
    census = Census(Maxima(), woken.append)
    for key in (("marts", "j1"), ("refused", "j1"), ("marts", "begun")):
        census.saw(key, sight(1, begun=key[1] == "begun"))
    assert census.holds(("marts", "j1")) and census.holds(("refused", "j1"))
    assert not census.holds(("marts", "begun")), "what has begun goes on"
    census.all_told("marts")
    assert set(woken) == {("marts", "j1")}
    assert not census.holds(("marts", "j1")) and census.holds(("refused", "j1"))


def test_whoever_was_held_is_woken_once_all_are_known_even_where_there_is_no_room() -> None:
    woken: list[str] = []
    census = Census(Maxima(live_jobs_per_namespace=1), lambda key: woken.append(key[1]))
    for number in (1, 2, 3, 4):
        census.saw(("marts", f"j{number}"), sight(number))
        assert census.holds(("marts", f"j{number}"))
    census.gone(("marts", "j4"))
    census.all_told(None)
    assert set(woken) == {"j1", "j2", "j3"}, "each has to say why it waits"


def test_the_oldest_finished_jobs_are_too_many() -> None:
    bench = Bench(finished_jobs_per_namespace=2)
    for number in (1, 2, 3):
        bench.saw(number, ended=f"2026-11-21T13:00:0{9 - number}Z")
    assert bench.woken == ["j3"], "the one that ended first"
    assert [bench.census.surplus(("marts", f"j{n}"), {}) for n in (1, 2, 3)] == [0, 0, 2]
    assert bench.census.surplus(("marts", "j3"), {"gpuquery.io/max-finished-jobs": "0"}) == 0
    assert bench.census.surplus(("marts", "j2"), {"gpuquery.io/max-finished-jobs": "1"}) == 1


def test_fewer_finished_jobs_by_a_new_annotation_make_the_older_ones_go() -> None:
    bench = Bench()
    for number in (1, 2, 3):
        bench.saw(number, ended=f"2026-11-21T13:00:0{number}Z")
    assert bench.woken == []
    assert bench.census.surplus(("marts", "j3"), {"gpuquery.io/max-finished-jobs": "1"}) == 0
    assert bench.woken == ["j1", "j2"]


def test_a_namesake_is_another_job() -> None:
    bench = Bench(live_jobs_per_namespace=1)
    bench.saw(1)
    assert bench.goes(1)
    bench.census.saw(("marts", "j1"), Sight(uid="u9", created="2026-11-21T14:00:00Z", begun=False))
    bench.saw(2)
    assert bench.goes(2), "the one that had begun is gone"


def test_a_job_that_is_suspended_gives_its_place_away_and_waits_for_none() -> None:
    bench = Bench(live_jobs_per_namespace=1)
    for number in (1, 2):
        bench.saw(number)
    assert [bench.goes(number) for number in (1, 2)] == [True, False]
    bench.woken.clear()
    bench.saw(1, suspended=True)
    assert bench.woken == ["j2"] and bench.goes(2), "though the other was created first"
    bench.saw(1)
    assert not bench.goes(1), "once it is resumed it waits for its turn"


def test_whoever_waited_behind_a_job_that_is_suspended_is_called() -> None:
    bench = Bench(live_jobs_per_namespace=1)
    bench.saw(1)
    bench.saw(2)
    assert not bench.goes(2), "the first has its turn"
    bench.saw(1, suspended=True)
    assert bench.woken == ["j2"] and bench.goes(2)


# What the operator makes of it


def decided(subject: GpuQueryJob, observed: Observed, now: datetime) -> Decision:
    return decide(subject, observed, DEFAULTS, now)


def put(client: RecordingClient, name: str, second: int, **more: Any) -> None:
    metadata = {"name": name, "namespace": "marts", "uid": f"0000000{second}-0000", "generation": 1,
                "creationTimestamp": at(second).isoformat()}  # fmt: skip
    body = {"query": {"sql": "SELECT 1 AS a"}, "output": {"uri": f"s3://lake/{name}"}, **more.pop("spec", {})}
    client.put(Resource.JOBS, {"metadata": metadata, "spec": body, **more})


class House:
    """An operator with a census, an API server, and the watch between them."""

    def __init__(self, *, told: bool = True, **maxima: int) -> None:
        self.client = RecordingClient()
        self.queue: WorkQueue[Key] = WorkQueue()
        limits = Maxima(**maxima)
        self.census = Census(limits, self.queue.add)
        if told:
            self.census.all_told(None)
        self.subject = Reconciler(
            client=self.client, reader=NoProgress(None), defaults=DEFAULTS.model_copy(update={"maxima": limits}),
            metrics=Metrics(self.client, self.queue), clock=lambda: NOW, census=self.census,
        )  # fmt: skip
        self.jobs = Jobs(WorkQueue(), self.subject.metrics, Sightings(), self.census)

    async def look(self, name: str) -> float | None:
        """Let the watch tell of a job, which is its metadata alone, and look at it."""
        metadata = self.client.objects[Resource.JOBS, name]["metadata"]
        self.jobs.tell(("marts", name), head({"metadata": metadata}), False)
        return await self.subject.reconcile(("marts", name))

    def status(self, name: str) -> GpuQueryJobStatus:
        return GpuQueryJobStatus.model_validate(self.client.objects[Resource.JOBS, name].get("status") or {})


async def test_a_job_over_the_maximum_waits_says_so_once_and_begins_in_its_turn() -> None:
    house = House(live_jobs_per_namespace=1)
    put(house.client, "first", 1)
    put(house.client, "second", 2)
    await house.look("first")
    for _ in range(3):
        await house.look("second")
    told = find(house.status("second").conditions, "Accepted")
    assert told is not None and (told.status, told.reason) == ("Unknown", Reason.TOO_MANY_JOBS)
    assert house.status("second").state == "Pending" and house.status("first").attempt == 1
    assert Counter(house.client.writes)["event CannotStart"] == 1 and len(house.queue) == 0
    del house.client.objects[Resource.JOBS, "first"]
    await house.subject.reconcile(("marts", "first"))
    assert len(house.queue) == 1
    await house.look("second")
    assert house.status("second").attempt == 1 and is_true(house.status("second").conditions, "Accepted")


async def test_the_end_of_a_job_makes_room_and_an_edit_of_it_afterwards_changes_nothing() -> None:
    house = House(live_jobs_per_namespace=1)
    put(house.client, "first", 1)
    put(house.client, "second", 2)
    await house.look("first")
    await house.look("second")
    over = {"type": "Failed", "status": "True", "reason": "UserError", "message": ""}
    status = house.client.objects[Resource.JOBS, "first"]["status"]
    attempts = [{**attempt, "ended": at(9).isoformat()} for attempt in status["attempts"]]
    status.update({"conditions": [over], "completionTime": at(9).isoformat(), "attempts": attempts})
    await house.look("first")
    assert len(house.queue) == 1 and await house.queue.get() == ("marts", "second"), "it is called"
    for _ in range(2):
        await house.look("first")
    await house.look("second")
    assert house.status("second").attempt == 1


async def test_a_job_that_is_resumed_waits_for_its_turn_and_goes_on_with_another_attempt() -> None:
    house = House(live_jobs_per_namespace=1)
    put(house.client, "first", 1)
    put(house.client, "second", 2, spec={"suspend": True})
    await house.look("first")
    await house.look("second")
    assert house.status("second").state == "Suspended", "it does not wait for the first"
    first = house.client.objects[Resource.JOBS, "first"]
    first["spec"]["suspend"] = True
    await house.look("first")
    for _ in range(2):
        await house.look("first")
    assert house.status("first").state == "Suspended" and house.status("first").attempts[0].reason == "Suspended"
    house.client.objects[Resource.JOBS, "second"]["spec"]["suspend"] = False
    await house.look("second")
    assert house.status("second").attempt == 1, "the first holds no place"
    first["spec"]["suspend"] = False
    await house.look("first")
    told = find(house.status("first").conditions, "Accepted")
    assert told is not None and (told.status, told.reason) == ("Unknown", Reason.TOO_MANY_JOBS)
    assert house.status("first").attempt == 1 and not is_true(house.status("first").conditions, "Suspended")
    del house.client.objects[Resource.JOBS, "second"]
    await house.subject.reconcile(("marts", "second"))
    await house.look("first")
    assert house.status("first").attempt == 2 and house.status("first").counted_failures == 0


async def test_what_a_failed_attempt_has_left_gives_no_place_to_a_job_that_is_resumed() -> None:
    house = House(live_jobs_per_namespace=1)
    put(house.client, "first", 1)
    put(house.client, "second", 2)
    await house.look("first")
    ((_, batch),) = [key for key in house.client.objects if key[0] is Resource.BATCH_JOBS]
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    house.client.objects[Resource.BATCH_JOBS, batch]["status"] = {"conditions": [failed]}
    first = house.client.objects[Resource.JOBS, "first"]
    await house.look("first")
    assert house.status("first").state == "Retrying"
    first["spec"]["suspend"] = True
    for _ in range(2):
        await house.look("first")
    await house.look("second")
    assert house.status("first").state == "Suspended" and house.status("second").attempt == 1
    assert (Resource.BATCH_JOBS, batch) in house.client.objects, "its logs stay"
    first["spec"]["suspend"] = False
    await house.look("first")
    assert find(house.status("first").conditions, "Accepted").reason == Reason.TOO_MANY_JOBS  # type: ignore[union-attr]
    assert house.status("first").attempt == 1


async def test_a_job_that_an_operator_began_before_it_died_does_not_wait_for_others() -> None:
    house = House(live_jobs_per_namespace=1)
    put(house.client, "first", 1)
    put(house.client, "second", 2)
    await house.look("first")
    house.client.objects[Resource.JOBS, "first"].pop("status")
    house.census.gone(("marts", "first"))
    await house.look("second")
    await house.look("first")
    assert house.status("first").attempt == 1 and house.status("second").attempt == 1
    assert "TooManyJobs" not in [c.reason for c in house.status("first").conditions]


async def test_finished_jobs_stay_where_their_namespace_cannot_be_asked() -> None:
    house = House(finished_jobs_per_namespace=1)
    over = {"type": "Failed", "status": "True", "reason": "UserError", "message": ""}
    for second in (1, 2):
        status = {"conditions": [over], "completionTime": at(second).isoformat()}
        put(house.client, f"j{second}", second, status=status)
    get = house.client.get

    async def guarded(resource: Resource, *where: Any, **how: Any) -> Any:
        if resource is Resource.NAMESPACES:
            raise ApiError(403, "Forbidden", "namespaces")
        return await get(resource, *where, **how)

    house.client.get = guarded  # type: ignore[method-assign]
    await house.look("j2")
    await house.look("j1")
    assert len(house.client.names(Resource.JOBS)) == 2
    house.client.get = get  # type: ignore[method-assign]
    await house.look("j1")
    assert house.client.names(Resource.JOBS) == ["j2"]


async def test_an_end_that_somebody_wrote_by_hand_makes_no_room() -> None:
    house = House(live_jobs_per_namespace=1)
    put(house.client, "first", 1)
    put(house.client, "second", 2)
    await house.look("first")
    over = {"type": "Complete", "status": "True", "reason": "Completed", "message": ""}
    status = house.client.objects[Resource.JOBS, "first"]["status"]
    committed = {**over, "type": "OutputCommitted"}
    status.update({"conditions": [over, committed], "completionTime": at(9).isoformat()})
    assert not status["attempts"][0].get("ended")
    await house.look("first")
    await house.look("second")
    assert house.status("second").state == "Pending" and house.status("second").attempt is None


async def test_a_job_that_waits_costs_no_request_until_its_pause_is_over() -> None:
    house = House(live_jobs_per_namespace=1)
    put(house.client, "first", 1)
    put(house.client, "second", 2)
    await house.look("first")
    await house.look("second")
    asked: list[Any] = []
    house.client.get = lambda *a, **_: asked.append(a)  # type: ignore[method-assign]
    pause = await house.subject.reconcile(("marts", "second"))
    assert asked == [] and pause is not None and 0 < pause <= FIRST_PAUSE


async def test_a_job_that_waits_for_the_census_costs_no_request_and_begins_once_its_namespace_is_told() -> None:
    house = House(told=False)
    put(house.client, "first", 1)
    house.jobs.tell(("marts", "first"), head(house.client.objects[Resource.JOBS, "first"]), True)
    get, asked = house.client.get, list[Any]()
    house.client.get = lambda *a, **_: asked.append(a)  # type: ignore[method-assign]
    for _ in range(3):
        assert await house.subject.reconcile(("marts", "first")) is None
    assert asked == [] and len(house.queue) == 0, "nobody looks again before"
    house.client.get = get  # type: ignore[method-assign]
    house.census.all_told("marts")
    assert len(house.queue) == 1
    await house.subject.reconcile(await house.queue.get())
    assert house.status("first").attempt == 1


async def test_a_job_of_which_nothing_was_told_yet_is_read_once_to_see_whether_it_has_begun() -> None:
    house = House(told=False)
    put(house.client, "new", 1)
    put(house.client, "runs", 2)
    house.client.objects[Resource.JOBS, "runs"]["status"] = {
        "attempt": 1,
        "attempts": [{"id": 1, "started": at(0).isoformat()}],
    }
    for name in ("new", "runs"):
        await house.subject.reconcile(("marts", name))
    assert house.status("new") == GpuQueryJobStatus() and house.status("runs").conditions


@pytest.mark.parametrize("accepted", ["no plan yet", "a plan"])
def test_a_wait_for_others_does_not_count_for_the_start_deadline(accepted: str) -> None:
    """An hour in the queue, and then something else that is missing: that has its ten minutes."""
    waiting = decided(job(), Observed(wait=turn(begun=2, earlier=0, most=TWO)), NOW).status
    assert waiting is not None
    late = NOW + timedelta(hours=1)
    if accepted == "a plan":
        blocked = Observed(refusal=Refusal(reason=Reason.QUOTA_EXCEEDED, message="exceeded quota"))
        subject = job(status=waiting)
    else:
        blocked = Observed(query=QueryText(missing="no ConfigMap 'q'"))
        subject = job(status=waiting, query={"configMapKeyRef": {"name": "q", "key": "q.sql"}})
    after = decided(subject, blocked, late).status
    assert after is not None and after.failure is None
    subject = subject.model_copy(update={"status": after})
    still = decided(subject, blocked, late + timedelta(seconds=599)).status
    assert still is None or still.failure is None
    ended = decided(subject, blocked, late + timedelta(seconds=601)).status
    assert ended is not None and ended.failure in (Failure.START_DEADLINE_EXCEEDED, Failure.INVALID_QUERY)


def test_a_job_that_can_never_run_is_refused_at_once_and_does_not_wait() -> None:
    full = Observed(wait=turn(begun=2, earlier=0, most=TWO))
    status = decided(job(output={"uri": "file:///out"}), full, NOW).status
    assert status is not None and status.failure == Failure.INVALID_INPUT


def test_a_job_that_has_begun_goes_on_whatever_the_maximum_has_become() -> None:
    bench = Bench(live_jobs_per_namespace=1)
    bench.saw(1, begun=True)
    bench.saw(2, begun=True)
    assert bench.goes(1) and bench.goes(2)


async def test_the_oldest_finished_job_is_deleted_with_an_event_and_counted() -> None:
    house = House(finished_jobs_per_namespace=1)
    over = [{"type": kind, "status": "True", "reason": kind, "message": ""} for kind in ("OutputCommitted", "Complete")]
    for second, name in enumerate(("old", "new"), start=1):
        put(house.client, name, second, status={"conditions": over, "completionTime": at(second).isoformat()})
        await house.look(name)
    assert len(house.queue) == 1
    await house.subject.reconcile(("marts", "old"))
    assert [name for kind, name in house.client.objects if kind is Resource.JOBS] == ["new"]
    assert house.client.writes == [f"event {Event.HISTORY_LIMIT}", "delete JOBS"]
    assert house.subject.metrics.registry.get_sample_value("gpuquery_jobs_pruned_total") == 1


async def test_a_spec_that_is_too_large_is_refused_with_its_largest_fields_and_nothing_else_is_done() -> None:
    house = House()
    put(house.client, "large", 1, spec={"executorOptions": {"a": "x" * 500_000}, "nonsense": 1})
    await house.look("large")
    status = house.status("large")
    assert status.failure == Failure.LIMIT_EXCEEDED
    failed = find(status.conditions, "Failed")
    assert failed is not None and "executorOptions 500,0" in failed.message and "393,216" in failed.message
    assert set(house.client.writes) == {"apply status", "event Rejected"}


async def test_a_spec_that_no_model_reads_is_told_with_all_its_fields_and_what_was_meant() -> None:
    house = House()
    node = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerm": []}}
    template = {"spec": {"affinity": {"nodeAffinity": node}, "tolerations": [{"op": "Equal"}]}}
    put(house.client, "typo", 1, spec={"template": template})
    await house.look("typo")
    failed = find(house.status("typo").conditions, "Failed")
    assert failed is not None and failed.reason == Failure.INVALID_INPUT
    assert failed.message.startswith("3 problems: (1) spec.template.spec.tolerations[0].op: unknown field")
    assert "nodeSelectorTerm: unknown field (did you mean nodeSelectorTerms?)" in failed.message


def test_the_event_of_a_wait_is_told_once() -> None:
    waiting = decided(job(), Observed(wait=turn(begun=2, earlier=0, most=TWO)), NOW).status
    assert waiting is not None
    assert [note.event for note in notes(GpuQueryJobStatus(), waiting)] == [Event.CANNOT_START]
    assert notes(waiting, waiting) == ()


async def test_a_job_that_waits_is_suspended_at_once_whatever_is_left_of_its_pause() -> None:
    house = House(live_jobs_per_namespace=1)
    for number, name in enumerate(("first", "second")):
        put(house.client, name, number)
        await house.look(name)
    assert house.census.pause(("marts", "second")) is not None
    manifest = house.client.objects[Resource.JOBS, "second"]
    house.client.put(Resource.JOBS, {**manifest, "spec": {**manifest["spec"], "suspend": True}})
    await house.look("second")
    assert is_true(house.status("second").conditions, "Suspended")
