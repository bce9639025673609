"""Who waits for whom: each time is right only beside the others, and none has changed by accident."""

from __future__ import annotations

import pytest

from gpuquery.api import timing
from gpuquery.api.timing import ORDERS, Order


@pytest.mark.parametrize("order", [pytest.param(order, id=order.why) for order in ORDERS])
def test_nobody_waits_longer_than_who_waits_for_him(order: Order) -> None:
    assert order.kept


def test_an_order_that_is_not_kept_is_found() -> None:
    assert not Order("the kubelet kills a pod before its supervisor is done", (31, timing.GRACE_SECONDS)).kept


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        pytest.param("PROCESS_COMMIT_SECONDS", 15, id="a process that was stopped waits so long for its commit"),
        pytest.param("POD_COMMIT_SECONDS", 22, id="its supervisor so long for the process"),
        pytest.param("GRACE_SECONDS", 30, id="the kubelet so long for the supervisor"),
        pytest.param("UNDISTURBED_SECONDS", 30, id="a commit that the attempt needs no other process for"),
        pytest.param("OPERATOR_COMMIT_SECONDS", 35, id="and the operator so long for that (docs/worker-set.md)"),
        pytest.param("VERDICT_SECONDS", 3, id="a pod that has told a failure waits for the first cause"),
        pytest.param("DOUBT_SECONDS", 2.5, id="a pod is in doubt after two heartbeats"),
    ],
)
def test_what_is_computed_is_what_the_documentation_says(name: str, seconds: float) -> None:
    assert getattr(timing, name) == seconds
