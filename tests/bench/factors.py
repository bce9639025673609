"""How much memory joins, sorts, groups and distinct rows take, as a multiple of the bytes that go into them.

Each runs in a process of its own on Polars' streaming engine, from parquet, into a sink that throws its result away, so
that nothing is held but what the step itself holds; the scan alone is measured the same way and taken off. The factors
in `gpuquery.runner.sizing.work` are these, rounded up. One JSON line on stdout.

    python -m tests.bench.factors [--rows 4000000]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from tests.bench.setting import conditions

STEPS = ("scan", "sort", "distinct", "group_few", "group_many", "join_small", "join_large", "window")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure memory factors of plan nodes.")
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step", choices=STEPS, help="run one step in this process and print what it took")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(one(options.step, options.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name), options)), flush=True)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """Run every step several times, in turns."""
    sizes = write(folder, options.rows)
    found: dict[str, list[dict[str, float]]] = {step: [] for step in STEPS}
    for _ in range(options.rounds):
        for step in STEPS:
            command = [sys.executable, "-m", "tests.bench.factors", "--step", step, "--folder", str(folder)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True)
            found[step].append(json.loads(answer.stdout))
    held = {step: statistics.median(run["bytes"] for run in runs) for step, runs in found.items()}
    seconds = {step: statistics.median(run["seconds"] for run in runs) for step, runs in found.items()}
    big = sizes["big"]
    into = {
        "sort": big, "distinct": big, "window": big,
        "group_many": big - 8 * options.rows,  # the groups: all columns but one of eight bytes
        "join_large": big + sizes["other"],
    }  # fmt: skip
    return {
        "measurement": "memory held by a step, as a multiple of the bytes that go into what it has to hold",
        "rows": options.rows,
        "input_mb": {name: round(size / 1e6) for name, size in sizes.items()},
        "factor": {step: round(max(0.0, held[step] - held["scan"]) / into[step], 2) for step in into},
        "held_mb": {step: round((held[step] - held["scan"]) / 1e6) for step in ("group_few", "join_small")},
        "seconds_of_scan": round(seconds["scan"], 2),
        "times_the_scan": {step: round(seconds[step] / seconds["scan"], 1) for step in STEPS[1:]},
        "polars": pl.__version__,
        **conditions(),
    }


def write(folder: Path, rows: int) -> dict[str, int]:
    """Make a large table, another of half its rows, and a small one; returns their bytes in memory."""
    key = pl.int_range(rows, eager=True)
    tables = {
        "big": pl.DataFrame({
            "k": key.shuffle(seed=1), "few": key % 100, "a": key * 1.5, "b": key * 7,
            "s": "text-" + key.cast(pl.String),
        }),
        "other": pl.DataFrame({"k": (key * 2).head(rows // 2).shuffle(seed=2), "c": key.head(rows // 2) * 2.5}),
        "small": pl.DataFrame({"few": key.head(100), "d": key.head(100) * 2.5}),
    }  # fmt: skip
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet", row_group_size=200_000)
    return {name: table.estimated_size() for name, table in tables.items()}


def one(step: str, folder: Path) -> dict[str, float]:
    """Run one step; returns the growth of this process' peak memory, and the time."""
    big, other, small = (pl.scan_parquet(folder / f"{name}.parquet") for name in ("big", "other", "small"))
    frame = {
        "scan": big.filter(pl.col("a") >= 0),
        "sort": big.sort("k"),
        "distinct": big.unique(["k"]),
        "group_few": big.group_by("few").agg(pl.col("a").sum(), pl.col("b").max()),
        "group_many": big.group_by("k").agg(pl.col("a").sum(), pl.col("b").max(), pl.col("s").first()),
        "join_small": big.join(small, on="few"),
        "join_large": big.join(other, on="k"),
        "window": big.with_columns(pl.col("a").sum().over("few")),
    }[step]
    before, began = peak(), time.perf_counter()
    frame.sink_parquet("/dev/null", compression="uncompressed", engine="streaming")
    return {"bytes": peak() - before, "seconds": time.perf_counter() - began}


def peak() -> int:
    """Peak resident memory of this process in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


if __name__ == "__main__":
    main()
