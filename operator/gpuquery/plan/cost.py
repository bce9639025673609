"""Cost: about how many GPU-hours a query will take. Pure, coarse, and open about what it assumes.

    seconds = START_SECONDS + (bytes read + bytes held, if computing dominates) / (GPUs x READ_BYTES_PER_SECOND)

Nothing of it was measured on a GPU by this project: it tells minutes from hours and one GPU from a hundred, not 10 %
from 20 %. `READ_BYTES_PER_SECOND` is the assumption of `plan/sizing.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.plan.sizing import READ_BYTES_PER_SECOND

if TYPE_CHECKING:
    from gpuquery.api.status import PreflightStatus

START_SECONDS = 60
"""From the start of the pods to the first byte read, with the image on the nodes: an assumption. Imports, workers that
join, and the preflight's own checks are in it; pulling an image of several GB is not."""


@dataclass(frozen=True)
class Cost:
    """What a query will take, if all goes well at the first attempt."""

    gpus: int
    """GPUs, all pods together."""
    seconds: int
    """Time for which they are held."""
    basis: str
    """What this rests on, in one sentence."""

    @property
    def gpu_hours(self) -> float:
        """GPUs times hours."""
        return self.gpus * self.seconds / 3600


def cost(found: PreflightStatus, *, workers: int, idle: int = 0) -> Cost | None:
    """Estimate the cost of a query on so many GPUs; None for one that uses no GPU or of which no sizes are known.

    `idle` GPUs are held beside them and do not work: that of the client of a Dask cluster.
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
