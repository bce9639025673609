"""When one process counts as hung."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuquery.api.pods import Workers
from gpuquery.runner.pod.stall import BUSY, Counts, Stall
from gpuquery.runner.signs import ENOUGH

STALL_DOCS = ("docs/worker-set.md", "docs/limitations.md")


def read(name: str) -> str:
    return (Path(__file__).parents[4] / name).read_text()


@pytest.mark.parametrize(
    ("moved", "stalls"),
    [
        pytest.param(lambda n: Counts(0, 0, 0), True, id="nothing at all is a stall"),
        pytest.param(lambda n: Counts(n * 0.01, 0, n * 100), True, id="threads that only wake up, and signs of life"),
        pytest.param(lambda n: Counts(n * 0.5, 0, 0), False, id="half a processor is work"),
        pytest.param(lambda n: Counts(0, n, 0), False, id="a byte from a disk is work"),
        pytest.param(lambda n: Counts(0, 0, n * 10 * ENOUGH), False, id="bytes over the network are work"),
        pytest.param(lambda n: None, False, id="what cannot be seen is taken for work"),
        pytest.param(lambda n: Counts(0, 0, n // 7 * 90 * ENOUGH), False, id="work now and then is work"),
        pytest.param(lambda n: Counts(100 - n, 0, 0), False, id="a process that has ended was at work"),
    ],
)
def test_a_process_that_does_nothing_for_its_limit_is_taken_for_hung(moved, stalls):
    stall = Stall(60, moved(0), 0)
    assert stall.pause == 5
    reached = [stall.look(moved(n), n * 5.0) for n in range(1, 60)]
    assert any(reached) is stalls
    if stalls:
        assert reached.index(True) == 11, "after a minute, not before"


def test_the_least_that_counts_as_work_is_what_the_texts_for_users_say():
    told = (Workers.model_json_schema()["properties"]["stallSeconds"]["description"], *map(read, STALL_DOCS))
    for text in (" ".join(text.split()) for text in told):
        assert f"{BUSY * 100:g} % of a processor" in text
        assert f"{ENOUGH >> 10} KiB/s over the network" in text


def test_a_machine_that_was_asleep_is_not_taken_for_a_query_that_hangs():
    stall = Stall(60, Counts(0, 0, 0), 0)
    assert not stall.look(Counts(0, 0, 0), 3600)
    assert stall.idle == 10
