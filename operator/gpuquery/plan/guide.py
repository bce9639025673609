"""The guide: which engine and cluster suit which amount of data.

docs/write-a-job.md shows this table, `auto` uses its first row, and a test compares the others with `plan/sizing.py`.
Sizes are bytes in memory: for the first row what the query reads, for the others the working set of its joins, sorts
and groups, as the preflight estimates both. The numbers of GPUs are for GPUs of 80 GiB and were computed, not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpuquery.api.choices import ClusterChoice

GB = 10**9
TB = 10**12


@dataclass(frozen=True)
class Advice:
    """One row."""

    below: int | None
    """Bytes from which the next row applies; None in the last row."""
    gpu: bool
    """Whether a GPU is worthwhile."""
    cluster: ClusterChoice
    gpus: tuple[int, int | None]
    """Minimum and maximum GPUs."""
    because: str


GUIDE = (
    Advice(1 * GB, False, ClusterChoice.SINGLE, (0, 0), "a pod with a GPU starts slower than Polars reads this"),
    Advice(40 * GB, True, ClusterChoice.SINGLE, (1, 1), "it fits one GPU, and nothing crosses a network"),
    Advice(340 * GB, True, ClusterChoice.DISTRIBUTED, (2, 8), "the GPUs of one node, one pod"),
    Advice(2700 * GB, True, ClusterChoice.DISTRIBUTED, (8, 64), "several nodes; shuffles take all of their memory"),
    Advice(None, True, ClusterChoice.DISTRIBUTED, (64, None), "raise gpu.maxReplicas, and give pods scratch to spill"),
)
"""Ordered by size."""


def advise(size: int) -> Advice:
    """Return the advice for a number of bytes in memory."""
    return next(row for row in GUIDE if row.below is None or size < row.below)


def amount(size: int) -> str:
    """Return a number of bytes in words: 3.1 TB."""
    for unit, name in ((TB, "TB"), (GB, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"


def as_markdown() -> str:
    """Return the table for the documentation."""
    lines = ["| data in memory | engine | cluster | GPUs | because |", "|---|---|---|---|---|"]
    least = ""
    for row in GUIDE:
        most = amount(row.below) if row.below is not None else ""
        size = f"under {most}" if not least else f"{least} to {most}" if most else f"over {least}"
        engine = "a GPU engine" if row.gpu else "`cpu`"
        least_gpus, most_gpus = row.gpus
        gpus = f"{least_gpus} or more" if most_gpus is None else f"{least_gpus} to {most_gpus}"
        gpus = str(least_gpus or "none") if least_gpus == most_gpus else gpus
        lines.append(f"| {size} | {engine} | `{row.cluster}` | {gpus} | {row.because} |")
        least = most
    return "\n".join(lines) + "\n"
