"""What the client of a Dask cluster makes of a scheduler that does not answer."""

from __future__ import annotations

from typing import Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.dask import client
from gpuquery.runner.dask.watch import Watch
from gpuquery.runner.errors import JobError


class Silent:
    """A client whose questions are not answered in time."""

    def __init__(self, status: str) -> None:
        self.status = status

    def sync(self, _question: Any, *, callback_timeout: float) -> Any:
        raise TimeoutError(f"timed out after {callback_timeout:g} s.")


@pytest.mark.parametrize(
    ("status", "want", "words"),
    [
        pytest.param("running", Failure.RANK_STALLED, "hangs: it has not answered for", id="its connection stands"),
        pytest.param("connecting", Failure.WORKER_LOST, "is gone: timed out", id="its connection is broken"),
    ],
)
def test_a_silent_scheduler_hangs_as_long_as_its_connection_stands(
    monkeypatch: pytest.MonkeyPatch, status: str, want: Failure, words: str
) -> None:
    monkeypatch.setattr(client, "LOOK_SECONDS", 0.01)
    watch = Watch(hold=0.0)
    cluster = client.Cluster(watch, heartbeat=0.01)
    cluster.client, cluster.address = Silent(status), "ucx://s:8786"
    cluster.guard()
    ended = cluster._over.wait
    with pytest.raises(JobError) as raised:
        watch.call("the query", lambda: ended(60))
    assert raised.value.failure is want
    assert f"the Dask scheduler at ucx://s:8786 {words}" in raised.value.message
    cluster.leave()
