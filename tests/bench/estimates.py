"""Estimated against measured size in memory of what TPC-H queries read, at several scale factors.

Measured: the columns that the optimized plan reads, collected by Polars on the CPU, `estimated_size()`. Every scale is
estimated twice: from files with size statistics, and from copies without any, whose texts have to be sampled. Also
timed: reading these columns against the whole query, on which `io_bound` is judged. One JSON line for each scale; with
`--markdown` the table of docs/benchmarks.md.

    python -m tests.bench.estimates [--scales 0.1 1 3] [--markdown]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.sizing import estimate, reads
from tests.bench.setting import conditions
from tests.bench.tpch import NAMES, QUERIES, generate, tables

TIMED = 1.0
"""Scale factor above which queries are not run: in memory, some take many times what they read."""


@dataclass(frozen=True)
class Row:
    """One query at one scale."""

    query: str
    estimated: int
    sampled: int
    """Estimated from files without size statistics."""
    measured: int
    peak: int
    io_bound: bool
    read_seconds: float
    query_seconds: float

    @property
    def ratio(self) -> float:
        """Estimated to measured."""
        return self.estimated / self.measured

    @property
    def sampled_ratio(self) -> float:
        """The same without size statistics."""
        return self.sampled / self.measured

    @property
    def errors(self) -> tuple[float, float]:
        """Factors by which the two estimates are wrong, in either direction."""
        return max(self.ratio, 1 / self.ratio), max(self.sampled_ratio, 1 / self.sampled_ratio)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Compare estimated and measured sizes.")
    parser.add_argument("--scales", type=float, nargs="+", default=[0.1, 1.0, 3.0])
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    found = {}
    for scale in options.scales:
        with tempfile.TemporaryDirectory() as folder:
            found[scale] = measure(Path(folder), scale, timed=scale <= TIMED)
        rows = found[scale]
        judged = {"io_bound_right": sum(map(rightly_judged, rows))} if scale <= TIMED else {}
        result = {
            "measurement": "estimated against measured bytes in memory, TPC-H",
            "scale": scale,
            **summary(rows),
            **judged,
            "queries": [asdict(row) for row in rows],
            "polars": pl.__version__,
            **conditions(),
        }
        print(json.dumps(result), flush=True)
    if options.markdown:
        print(markdown(found))


def measure(folder: Path, scale: float, *, timed: bool = True) -> list[Row]:
    """Estimate and measure every query."""
    generate(folder / "told", scale)
    (folder / "untold").mkdir()
    for name in NAMES:  # Polars writes no size statistics
        pl.scan_parquet(folder / "told" / f"{name}.parquet").sink_parquet(folder / "untold" / f"{name}.parquet")
    told, untold = tables(folder / "told"), tables(folder / "untold")
    out = []
    for name, query in QUERIES.items():
        one, two = estimate(query(told), StoreAccess()), estimate(query(untold), StoreAccess())
        began = time.perf_counter()
        size = measured(query(told))
        middle = time.perf_counter()
        if timed:
            query(told).collect(engine="in-memory")  # the streaming engine of 1.44.2 panics on sums of decimals
        taken = time.perf_counter() - middle
        out.append(Row(name, one.input_bytes, two.input_bytes, size, one.peak_bytes, one.io_bound,
                       round(middle - began, 3), round(taken, 3)))  # fmt: skip
    return out


def measured(frame: pl.LazyFrame) -> int:
    """Bytes in memory of the columns that the plan's scans read, without any filter."""
    total = 0
    for scan in reads.view(frame).scans:
        table = pl.scan_parquet(list(scan.paths)).select(list(scan.columns))
        # In slices, so that a large scale factor fits.
        for name in scan.columns:
            total += table.select(name).collect().estimated_size()
    return total


def rightly_judged(row: Row) -> bool:
    """Whether `io_bound` was right: computing takes longer where a query takes over twice as long as its reading."""
    return row.io_bound == (row.query_seconds <= 2 * row.read_seconds)


def summary(rows: list[Row]) -> dict[str, float]:
    """Median error, and the lowest and highest ratio; the second three without size statistics."""
    errors = list(zip(*(row.errors for row in rows), strict=True))
    return {
        "median_error": round(statistics.median(errors[0]), 3),
        "lowest_ratio": round(min(row.ratio for row in rows), 3),
        "highest_ratio": round(max(row.ratio for row in rows), 3),
        "median_error_sampled": round(statistics.median(errors[1]), 3),
        "lowest_ratio_sampled": round(min(row.sampled_ratio for row in rows), 3),
        "highest_ratio_sampled": round(max(row.sampled_ratio for row in rows), 3),
    }


def markdown(found: dict[float, list[Row]]) -> str:
    """The table for docs/benchmarks.md."""
    heads = [f"SF {scale:g}: estimated / measured MB | ratio | ratio, sampled" for scale in found]
    lines = [f"| query | {' | '.join(heads)} |", "|---" * (1 + 3 * len(found)) + "|"]
    for number, name in enumerate(QUERIES):
        cells = []
        for rows in found.values():
            row = rows[number]
            cells.append(f"{row.estimated / 1e6:,.1f} / {row.measured / 1e6:,.1f} | {row.ratio:.2f} | "
                         f"{row.sampled_ratio:.2f}")  # fmt: skip
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
