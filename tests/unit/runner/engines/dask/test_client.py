"""What the client of a Dask cluster makes of a scheduler that does not answer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.engines.dask import client
from gpuquery.runner.engines.dask.guard import Guard
from gpuquery.runner.failures.errors import JobError


class Silent:
    """A client whose questions are not answered in time."""

    def __init__(self, status: str) -> None:
        self.status = status

    def sync(self, _question: Any) -> Any:
        raise TimeoutError("no answer within 3 s")


@pytest.mark.parametrize(
    ("status", "want", "words"),
    [
        pytest.param("running", Failure.RANK_STALLED, "hangs: it has not answered for", id="its connection stands"),
        pytest.param("connecting", Failure.WORKER_LOST, "is gone: no answer", id="its connection is broken"),
    ],
)
def test_a_silent_scheduler_hangs_as_long_as_its_connection_stands(
    monkeypatch: pytest.MonkeyPatch, status: str, want: Failure, words: str
) -> None:
    monkeypatch.setattr(client, "LOOK_SECONDS", 0.01)
    guard = Guard(hold=0.0)
    cluster = client.Cluster(guard, heartbeat=0.01)
    cluster.client, cluster.address = Silent(status), "ucx://s:8786"
    cluster.watch_workers()
    ended = cluster._over.wait
    with pytest.raises(JobError) as raised:
        guard.call("the query", lambda: ended(60))
    assert raised.value.failure is want
    assert f"the Dask scheduler at ucx://s:8786 {words}" in raised.value.message
    cluster.leave()


class Late:
    """A scheduler that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = asyncio.Event()

    async def identity(self, *, n_workers: int) -> dict[str, Any]:
        self.asked += 1
        await self.answers.wait()
        return {"workers": {"ucx://w:1": {"name": "w"}}}


async def test_a_late_answer_is_waited_for_and_no_question_is_given_up() -> None:
    """A question that is given up over UCX is answered into memory that has other uses by then."""
    cluster, scheduler = client.Cluster(Guard(hold=0.0), heartbeat=0.001), Late()
    cluster.client = SimpleNamespace(scheduler=scheduler)
    for _ in range(2):
        with pytest.raises(TimeoutError, match="no answer within 0"):
            await cluster._answer()
    scheduler.answers.set()
    cluster._silent = 600.0
    assert await cluster._answer() == {"ucx://w:1": "w"}
    assert scheduler.asked == 1
    assert await cluster._answer() == {"ucx://w:1": "w"}
    assert scheduler.asked == 2, "the next look is a question of its own"
