"""The guide: which engine and cluster suit which amount of data.

One table: `auto` goes by it, and docs/write-a-job.md shows it. Sizes are bytes in memory of what the optimized plan
reads, as the preflight estimates them. The limits are rules of thumb for GPUs of 80 GB, scaled to other sizes, and were
not measured on GPUs: up to about half of its memory one GPU holds input and working set together; beyond that joins,
sorts and groups spill, and more GPUs help.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpuquery.api.choices import ClusterChoice

GB = 10**9
TB = 10**12
GPU_MEMORY = 80 * 2**30
"""Bytes of the GPUs that the table has in mind."""


@dataclass(frozen=True)
class Advice:
    """One row."""

    below: int | None
    """Bytes from which on the next row holds; None in the last one."""
    gpu: bool
    """Whether a GPU is worth it."""
    cluster: ClusterChoice
    gpus: str
    """How many GPUs, in words."""
    because: str


GUIDE = (
    Advice(1 * GB, False, ClusterChoice.SINGLE, "none", "a GPU pod starts slower than Polars reads this on the CPU"),
    Advice(50 * GB, True, ClusterChoice.SINGLE, "1", "it fits one GPU, and nothing is sent over a network"),
    Advice(500 * GB, True, ClusterChoice.DISTRIBUTED, "2 to 8", "one node's GPUs: joins and groups exceed one of them"),
    Advice(5 * TB, True, ClusterChoice.DISTRIBUTED, "8 to 64", "several nodes: shuffles need all of their memory"),
    Advice(None, True, ClusterChoice.DISTRIBUTED, "64 or more", "spills where it has to; give it scratch volumes too"),
)
"""In order of size."""


def advise(size: int, gpu_memory: int = GPU_MEMORY) -> Advice:
    """Return the advice for a number of bytes in memory and GPUs of that many bytes."""
    scale = gpu_memory / GPU_MEMORY
    return next(row for row in GUIDE if row.below is None or size < row.below * (scale if row.gpu else 1))


def amount(size: int) -> str:
    """Return a number of bytes in words: 3.1 TB."""
    for unit, name in ((TB, "TB"), (GB, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"


def as_markdown() -> str:
    """Return the table as documentation shows it."""
    lines = ["| data in memory | engine | cluster | GPUs | because |", "|---|---|---|---|---|"]
    least = ""
    for row in GUIDE:
        most = amount(row.below) if row.below is not None else ""
        size = f"under {most}" if not least else f"{least} to {most}" if most else f"over {least}"
        engine = "a GPU engine" if row.gpu else "`cpu`"
        lines.append(f"| {size} | {engine} | `{row.cluster}` | {row.gpus} | {row.because} |")
        least = most
    return "\n".join(lines) + "\n"
