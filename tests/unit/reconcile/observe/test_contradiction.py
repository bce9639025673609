"""A terminal condition that the rest of the status denies: derived anew and told; an honest end costs nothing."""

from __future__ import annotations

from typing import Any

import pytest

from gpuquery.api.conditions import is_true
from gpuquery.api.labels import LABEL_PREFLIGHT
from gpuquery.api.reasons import Failure
from gpuquery.api.status import GpuQueryJobStatus
from gpuquery.kube.client import Resource
from gpuquery.reconcile.observe.contradiction import contradiction
from tests.support.kube_objects import CHECKED, COMMITTED, NOW, OUTPUT, failed_report, told
from tests.support.recording import READY, RecordingClient, ended
from tests.unit.reconcile.test_reconciler import KEY, READING, current, operator, store


class Counting(RecordingClient):
    """Counts what is read."""

    reads = 0

    async def get(self, *args: Any, **how: Any) -> Any:
        self.reads += 1
        return await super().get(*args, **how)

    async def list(self, *args: Any, **how: Any) -> Any:
        self.reads += 1
        return await super().list(*args, **how)


async def look(client: RecordingClient, seconds: float = 0) -> None:
    await operator(client, READING, seconds=seconds).reconcile(KEY)


async def running(**spec: Any) -> Counting:
    client = Counting()
    store(client, backoffLimit=0, **spec)
    await look(client)
    client.pod(1, READY)
    await look(client, 1)
    return client


def write(client: RecordingClient, kind: str, value: str, **fields: Any) -> None:
    """Write a condition by hand, as with `kubectl patch --subresource=status`."""
    status = client.objects[Resource.JOBS, "revenue"]["status"]
    for condition in status["conditions"]:
        if condition["type"] == kind:
            condition["status"] = value
    status |= fields


def warnings(client: RecordingClient) -> list[str]:
    events = (found for (kind, _), found in client.objects.items() if kind is Resource.EVENTS)
    return [event["note"] for event in events if event["reason"] == "StatusCorrected"]


@pytest.mark.parametrize("kind", ["Complete", "Failed"])
async def test_a_condition_written_by_hand_ends_no_job_that_runs(kind: str) -> None:
    client = await running()
    write(client, kind, "True")
    await look(client, 2)
    assert told(current(client), kind)[0] == "False" and current(client).status.state == "Running"
    assert warnings(client) == [f"{kind} is True, but completionTime is not set: the status was derived anew"]
    client.pod(1, ended(COMMITTED, 0))
    await look(client, 9)
    assert is_true(current(client).status.conditions, "Complete")
    assert told(current(client), "OutputCommitted")[0] == "True"
    assert current(client).status.output == OUTPUT


async def test_not_even_with_a_time_of_the_end() -> None:
    client = await running()
    write(client, "Complete", "True", completionTime="2026-11-21T12:00:01Z")
    await look(client, 2)
    assert told(current(client), "Complete")[0] == "False" and current(client).status.completion_time is None
    assert "attempt 1 has not ended" in warnings(client)[0]


async def test_who_writes_again_and_again_gets_one_write_each_time_and_one_event() -> None:
    client = await running()
    for seconds in range(2, 6):
        write(client, "Complete", "True")
        client.writes = []
        await look(client, seconds)
        assert client.writes.count("apply status") == 1
        client.writes = []
        await look(client, seconds)
        assert client.writes == [], "what was corrected is not corrected again"
    assert len(warnings(client)) == 1


HONEST: list[Any] = [
    pytest.param(ended(COMMITTED, 0), "Complete", id="complete"),
    pytest.param(ended(failed_report(Failure.USER_ERROR), 1), "Failed", id="failed"),
]


@pytest.mark.parametrize(("end", "kind"), HONEST)
async def test_an_honest_end_costs_one_read_and_no_write(end: dict[str, Any], kind: str) -> None:
    client = await running()
    client.pod(1, end)
    await look(client, 9)
    assert is_true(current(client).status.conditions, kind)
    client.writes, client.reads = [], 0
    await look(client, 99)
    assert client.writes == [] and client.reads == 1


@pytest.mark.parametrize(("end", "kind"), HONEST)
async def test_of_two_conditions_that_exclude_each_other_the_one_holds_that_the_rest_bears_out(
    end: dict[str, Any], kind: str
) -> None:
    client = await running()
    client.pod(1, end)
    await look(client, 9)
    before = current(client).status
    other = "Failed" if kind == "Complete" else "Complete"
    write(client, other, "True", state=other)
    await look(client, 20)
    after = current(client).status
    assert is_true(after.conditions, kind) and told(current(client), other)[0] == "False"
    assert (after.state, after.failure, after.completion_time) == (before.state, before.failure, before.completion_time)
    assert "exclude each other" in warnings(client)[0] and after.attempt == 1, "nothing is begun again"


async def test_complete_without_a_commit_is_taken_back_once_the_attempt_has_failed() -> None:
    client = await running()
    client.pod(1, ended(failed_report(Failure.USER_ERROR), 1))
    await look(client, 9)
    write(client, "Complete", "True")
    write(client, "Failed", "False")
    await look(client, 20)
    assert told(current(client), "Failed") == ("True", Failure.USER_ERROR)
    assert told(current(client), "Complete")[0] == "False"
    assert "OutputCommitted is not" in warnings(client)[0]


async def test_a_commit_that_was_written_over_is_told_again() -> None:
    client = await running()
    client.pod(1, ended(COMMITTED, 0))
    await look(client, 9)
    write(client, "OutputCommitted", "False")
    await look(client, 20)
    assert is_true(current(client).status.conditions, "OutputCommitted")
    assert is_true(current(client).status.conditions, "Complete") and current(client).status.attempt == 1


async def test_a_dry_run_is_complete_without_a_commit() -> None:
    client = Counting()
    store(client, dryRun=True)
    await look(client)
    client.pod(1, ended(CHECKED, 0), label=LABEL_PREFLIGHT)
    await look(client, 5)
    assert is_true(current(client).status.conditions, "Complete")
    assert contradiction(current(client).status) == ""
    client.writes = []
    await look(client, 9)
    assert client.writes == []


def test_a_status_of_a_version_before_that_has_fewer_fields_is_believed() -> None:
    stored = {
        "state": "Complete",
        "conditions": [
            {"type": "OutputCommitted", "status": "True", "reason": "Committed"},
            {"type": "Complete", "status": "True", "reason": "Completed"},
        ],
        "attempts": [{"id": 1, "started": NOW, "ended": NOW, "exitCode": 0}],
        "completionTime": NOW,
    }
    assert contradiction(GpuQueryJobStatus.model_validate(stored)) == ""
