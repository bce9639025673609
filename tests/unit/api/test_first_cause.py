"""Which of several failures was first: the same rule in a pod, as they come in, and in the operator, afterwards."""

from __future__ import annotations

import pytest

from gpuquery.api.first_cause import FirstCause, order
from gpuquery.api.reasons import Failure

OOM, TAKEN, LOST, STALLED, BROKEN = (
    Failure.GPU_OUT_OF_MEMORY, Failure.EVICTED, Failure.WORKER_LOST, Failure.RANK_STALLED, Failure.TRANSPORT_ERROR,
)  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(order(OOM, at=9, index=1), order(TAKEN, at=1), id="a cause outweighs a pod that was taken away"),
        pytest.param(order(TAKEN, at=9), order(LOST, at=1), id="which outweighs a pod that is gone"),
        pytest.param(order(LOST, at=9), order(LOST, at=1, reported=True), id="a death outweighs the report of another"),
        pytest.param(order(LOST, at=9), order(STALLED, at=1, reported=True), id="and the report that one hangs"),
        pytest.param(
            order(BROKEN, at=1, reported=True), order(LOST, at=2, reported=True), id="of two reports the earlier counts"
        ),
        pytest.param(order(OOM, at=1), order(Failure.USER_ERROR, at=2), id="of two causes the earlier counts"),
        pytest.param(order(OOM, at=1), order(OOM, at=1, index=1), id="at the same time the pod of the lower index"),
    ],
)
def test_which_of_two_failures_is_the_first_cause(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    assert first < second


def test_what_is_held_counts_only_if_nothing_is_decided_meanwhile() -> None:
    held, overtaken = FirstCause[str](), FirstCause[str]()
    for cause in (held, overtaken):
        cause.hold("lost", until=5)
        assert cause.suspected
        assert cause.due(4.9) is None
    overtaken.decide("the cause")
    assert (held.due(5), overtaken.due(5)) == ("lost", "the cause")
    held.decide("too late")
    assert held.due(6) == "lost", "once decided it stays"


def test_of_those_held_the_one_that_is_due_first_counts() -> None:
    cause = FirstCause[str]()
    for until, fault in ((8.0, "later"), (5.0, "first"), (5.0, "as early")):
        cause.hold(fault, until=until)
    assert cause.due(9) == "first"


def test_in_doubt_what_is_held_waits_and_what_is_decided_counts() -> None:
    cause = FirstCause[str]()
    cause.hold("lost", until=5)
    assert cause.due(9, doubt=True) is None
    cause.decide("the cause")
    assert cause.due(9, doubt=True) == "the cause"
