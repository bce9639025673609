"""The guide: which engine and cluster suit which amount of data.

One table: docs/write-a-job.md shows it, `auto` goes by its first row, and a test holds the others to what
`plan/sizing.py` makes of such data. Sizes are bytes in memory: for the first row what the query reads, for the others
the working set of its joins, sorts and groups, as the preflight estimates both. The numbers of GPUs are for GPUs of
80 GiB and were computed, not measured.
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
    """Bytes from which on the next row holds; None in the last one."""
    gpu: bool
    """Whether a GPU is worth it."""
    cluster: ClusterChoice
    gpus: tuple[int, int | None]
    """Least and most GPUs."""
    because: str


GUIDE = (
    Advice(1 * GB, False, ClusterChoice.SINGLE, (0, 0), "a pod with a GPU starts slower than Polars reads this"),
    Advice(40 * GB, True, ClusterChoice.SINGLE, (1, 1), "it fits one GPU, and nothing crosses a network"),
    Advice(340 * GB, True, ClusterChoice.DISTRIBUTED, (2, 8), "the GPUs of one node, one pod"),
    Advice(2700 * GB, True, ClusterChoice.DISTRIBUTED, (8, 64), "several nodes; shuffles take all of their memory"),
    Advice(None, True, ClusterChoice.DISTRIBUTED, (64, None), "raise gpu.maxReplicas, and give pods scratch to spill"),
)
"""In order of size."""


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
    """Return the table as documentation shows it."""
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
