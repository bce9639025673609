"""Work: what a plan holds in memory while it runs, and whether it will wait for reading or for computing.

Rows and bytes flow through the plan from its scans; steps that must hold what they get (joins, sorts, groups, distinct
rows) hold it times a factor. Filters are taken to let everything through and joins to yield as many rows as
their larger side, because statistics of values are not at hand: the working set is an upper estimate.

The factors are measured on Polars' streaming engine on the CPU (`tests/bench/factors.py`, results in
docs/benchmarks.md), rounded up. Nothing was measured on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.runner.sizing import widths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.sizing.reads import Node, Schema

SORT = 3.0
DISTINCT = 6.0
GROUP_BY = 4.5
"""Of the bytes of the groups, if each row were a group."""
JOIN = 1.5
"""Of both sides."""
COMPUTE_BOUND = 2.0
"""Bytes that blocking steps take in, as a multiple of the bytes that are read, above which computing takes longer."""

_FACTORS = {"Sort": SORT, "Distinct": DISTINCT, "GroupBy": GROUP_BY, "Join": JOIN}


@dataclass(frozen=True)
class Volume:
    """What leaves a step."""

    rows: float
    widths: Mapping[str, float]
    """Bytes of one row, by column."""

    @property
    def bytes(self) -> float:
        """All of it."""
        return self.rows * sum(self.widths.values())


@dataclass(frozen=True)
class Work:
    """What a plan does with its input."""

    peak: int
    """Bytes that the step that holds most holds."""
    io_bound: bool
    """Whether reading is expected to take longer than computing."""
    steps: Mapping[str, int]
    """Blocking steps by kind."""


def measure(nodes: Sequence[Node], scanned: Mapping[int, Volume]) -> Work:
    """Follow the volumes through a plan; `scanned` has what leaves each scan, by number of the node."""
    flows: list[Volume] = []
    held: list[float] = []
    moved = 0.0
    steps: dict[str, int] = {}
    for number, node in enumerate(nodes):
        feeds = [flows[one] for one in node.inputs]
        flow = scanned[number] if number in scanned else _flow(node, feeds)
        flows.append(flow)
        if factor := _FACTORS.get(node.kind):
            steps[node.kind] = steps.get(node.kind, 0) + 1
            basis = flow.bytes if node.kind == "GroupBy" else sum(one.bytes for one in feeds)
            held.append(factor * basis)
            moved += basis
    read = sum(volume.bytes for volume in scanned.values())
    return Work(round(max(held, default=0.0)), moved <= COMPUTE_BOUND * read, steps)


def _flow(node: Node, feeds: Sequence[Volume]) -> Volume:
    rows = [feed.rows for feed in feeds]
    known = {name: width for feed in reversed(feeds) for name, width in feed.widths.items()}
    match node.kind:
        case "Union":
            count = sum(rows)
        case "Slice":
            count = min(max(rows, default=0.0), float(node.detail or 0))
        case "DataFrameScan":
            count, width = node.detail
            known = dict.fromkeys(node.columns, width)
        case "Join" if node.detail == "Cross":
            # Nobody waits for a product of large tables; one side is a handful of values.
            count = max(rows) * min(10.0, *rows)
        case _:
            count = max(rows, default=0.0)
    columns = node.columns or dict.fromkeys(known)
    return Volume(count, {name: _width(name, known, node.columns) for name in columns})


def _width(name: str, known: Mapping[str, float], columns: Schema) -> float:
    if name in known:
        return known[name]
    return widths.guess(columns[name])
