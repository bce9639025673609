"""How far a query is that writes nothing yet, by what comes in over the pod's network and what its footers say."""

from __future__ import annotations

import itertools
import threading

import polars as pl
import pytest

from gpuquery.api.report import Phase, Progress
from gpuquery.runner import pulse, signs
from gpuquery.runner.progress import Tracker
from tests.support.runner import plan

WAIT_SECONDS = 30


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Runs until progress says so, while a quarter of the input comes in at each look; returns what was told."""
    file = tmp_path / "t.parquet"
    pl.DataFrame({"n": range(100_000)}).write_parquet(file)
    stored = pulse.sizing.estimate(pl.scan_parquet(file), plan(tmp_path, "select 1").store).stored_bytes
    received = itertools.count(1000, stored // 4)
    monkeypatch.setattr(signs, "network_bytes", lambda *_, sent: next(received))
    monkeypatch.setattr(pulse, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(pulse, "LONG_SECONDS", 0.1)
    wanted = plan(tmp_path, "select 1", inputs={"t": "s3://lake/t.parquet"})

    def run(until) -> list[Progress]:
        seen: list[Progress] = []
        reached = threading.Event()

        def listen(progress: Progress) -> None:
            seen.append(progress)
            if until(progress):
                reached.set()

        tracker = Tracker(listen)
        tracker.enter(Phase.RUNNING)
        with pulse.told(tracker, wanted, pl.scan_parquet(file)):
            assert reached.wait(WAIT_SECONDS)
        return seen

    return run


def test_the_share_of_the_input_that_has_come_in_is_told_while_no_row_is_written(told):
    seen = told(lambda progress: progress.percent is not None)
    last = seen[-1]
    assert last.rows == 0
    assert last.expected_bytes is not None
    assert last.percent is not None
    assert last.percent == min(99, 100 * last.read_bytes // last.expected_bytes)
    assert last.read_bytes > 0
