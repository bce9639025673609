"""Cost: a coarse estimate of the GPU-hours of a query, with its assumptions. Pure.

    seconds = START_SECONDS + (bytes read + bytes held, if computing dominates) / (GPUs x READ_BYTES_PER_SECOND)

This project measured none of it on a GPU: it can tell minutes from hours and one GPU from a hundred, not 10 % from 20
%. `READ_BYTES_PER_SECOND` is the assumption of `plan/sizing.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.plan.sizing import READ_BYTES_PER_SECOND

if TYPE_CHECKING:
    from gpuquery.api.status import PreflightStatus

START_SECONDS = 60
"""Time from the start of the pods to the first byte read, with the image on the nodes: an assumption. It includes
imports, workers that join, and the preflight's checks, but not pulling an image of several GB."""


@dataclass(frozen=True)
class Cost:
    """Cost of a query whose first attempt succeeds."""

    gpus: int
    """GPUs of all pods together."""
    seconds: int
    """How long they are held."""
    basis: str
    """The basis of the estimate, in one sentence."""

    @property
    def gpu_hours(self) -> float:
        """GPUs times hours."""
        return self.gpus * self.seconds / 3600


def cost(found: PreflightStatus, *, workers: int, idle: int = 0) -> Cost | None:
    """Estimate the cost of a query on so many GPUs; None without GPUs or known sizes.

    `idle` GPUs are held in addition and do not work: the GPU of a Dask cluster's client.
    """
    total = workers
    if not total or not (found.input_bytes or found.files == 0):
        return None
    held = 0 if found.io_bound else found.peak_bytes
    seconds = START_SECONDS + (found.input_bytes + held) / (total * READ_BYTES_PER_SECOND)
    moved = f"{found.input_bytes / 1e9:,.1f} GB read" + (f" and {held / 1e9:,.1f} GB held" if held else "")
    basis = (
        f"a coarse estimate for one attempt: {START_SECONDS} s to start, then {moved} at "
        f"{READ_BYTES_PER_SECOND / 1e9:g} GB/s and GPU, which are assumptions and no measurements"
    )
    return Cost(total + idle, round(seconds), basis)
