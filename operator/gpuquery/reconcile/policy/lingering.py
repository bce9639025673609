"""Lingering: the pods for which a job waits before it may go on or end, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuquery.reconcile.observe.model import Pod

NAMED = 3
"""Most pods that are named. Of more nothing is told: each one that goes would be a write of the status."""


def waits_for(pods: Iterable[Pod]) -> str:
    """Name the pods that may still run; empty if there are none."""
    alive = [pod for pod in pods if pod.alive]
    if not alive:
        return ""
    if len(alive) > NAMED:
        return f"waits for more than {NAMED} pods to end"
    return f"waits for {', '.join(where(pod) for pod in alive)} to end"


def where(pod: Pod) -> str:
    """Name a pod with its node."""
    return f"pod {pod.name}" + (f" on node {pod.node}" if pod.node else "")
