"""SQL on the CPU: TPC-H and TPC-DS by our planner, by DuckDB, and by the way before (Polars' own SQL), in turns.

All read the same parquet files in one process with as many threads as the machine has cores. DuckDB's time is for its
answer in memory, ours for planning, compiling and collecting. With --s3 the files are in a SeaweedFS, which DuckDB
cannot read here (its extension for that is no package); then ours and the way before are compared. One JSON line.

    python -m tests.bench.sql [--scale 1] [--suites tpch] [--rounds 1] [--s3] [--no-before]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

from gpuquery.runner.query import queries
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.prepare import Prepared
from tests.bench.setting import conditions
from tests.support import sql, tpc
from tests.support.runner import plan
from tests.support.seaweed import serve
from tests.support.sql_verdict import statistics as facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SUITES = ("tpch", "tpcds")
FRONT = "import gpuquery.runner.query.sql.front"
MODULES = "import polars, sys, time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
SLOWEST = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=SUITES)
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--no-before", action="store_true", help="leave the way before out")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "measurement": "TPC by SQL",
        "scale": options.scale,
        "store": "s3" if options.s3 else "files",
    }
    for name in options.suites:
        suite = tpc.suite(name, options.scale)
        with stored(suite) if options.s3 else contextlib.nullcontext(suite.tables) as tables:
            ours(suite.queries[1], tables, suite)  # what is imported and made once counts for no query
            found = {number: measure(suite, number, tables, options) for number in suite.queries}
        result[name] = summary(found)
    result["front_import_seconds"] = round(statistics.median(imported() for _ in range(5)), 3)
    print(json.dumps({**result, **conditions()}))


def measure(suite: tpc.Suite, number: int, tables: Mapping[str, Any], options: argparse.Namespace) -> dict[str, float]:
    """Return the seconds of each way for one query, the least of the rounds; what cannot run it is left out."""
    text = suite.queries[number]
    ways: dict[str, Callable[[], Any]] = {"ours": lambda: ours(text, tables, suite)}
    if not options.s3:
        ways["duckdb"] = lambda: duckdbs(text, tables)
    if not options.no_before:
        ways["before"] = lambda: before(text, tables)
    seconds: dict[str, float] = {}
    for _ in range(options.rounds):
        for way, run in ways.items():
            with contextlib.suppress(Exception if way == "before" else ()):
                start = time.perf_counter()
                planned = run()
                seconds[way] = min(seconds.get(way, 1e9), time.perf_counter() - start)
                if way == "ours":
                    seconds["planning"] = min(seconds.get("planning", 1e9), planned)
    print(
        f"{suite.name} {number}: {json.dumps({way: round(took, 3) for way, took in seconds.items()})}", file=sys.stderr
    )
    return seconds


def ours(text: str, tables: Mapping[str, Any], suite: tpc.Suite) -> float:
    """Run a query and return the seconds of planning and compiling alone."""
    frames = {name: pl.scan_parquet(path) for name, path in tables.items()}
    known = _facts(suite)
    start = time.perf_counter()
    prepared = Prepared(text, dialect="duckdb", inputs=list(frames), values={})
    frame = prepared.plan(frames, now=sql.NOW, target=CPU, statistics=known).frame
    planned = time.perf_counter() - start
    frame.collect(engine="streaming")
    return planned


_KNOWN: dict[Path, Any] = {}


def _facts(suite: tpc.Suite) -> Any:
    """Return the statistics of the footers, read once: the runner reads footers whatever the query is."""
    if suite.folder not in _KNOWN:
        _KNOWN[suite.folder] = facts(suite.tables)
    return _KNOWN[suite.folder]


def duckdbs(text: str, tables: Mapping[str, Any]) -> None:
    """Run a query by DuckDB."""
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {os.cpu_count()}")
        for name, path in tables.items():
            connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{path}')")
        connection.execute(text).fetchall()


def before(text: str, tables: Mapping[str, Any]) -> None:
    """Run a query by Polars' own SQL."""
    used = {name: str(path) for name, path in tables.items() if name in text.lower()}
    inputs = {name: path if "://" in path else f"file://{path}" for name, path in used.items()}
    wanted = plan("file:///nowhere", text, inputs=inputs, dialect="polars")
    frames = {name: pl.scan_parquet(path) for name, path in used.items()}
    queries.prepare(wanted).plan(frames).frame.collect(engine="streaming")


@contextlib.contextmanager
def stored(suite: tpc.Suite) -> Iterator[dict[str, str]]:
    """Put the files into a SeaweedFS."""
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as server:
        os.environ.update(server.environment, AWS_ENDPOINT_URL=server.endpoint, AWS_ALLOW_HTTP="true")
        bucket, client = server.make_bucket(), server.client()
        for name, path in suite.tables.items():
            client.upload_file(str(path), bucket, f"{name}.parquet")
        yield {name: f"s3://{bucket}/{name}.parquet" for name in suite.tables}


def summary(found: Mapping[int, Mapping[str, float]]) -> dict[str, Any]:
    """Return totals and ratios."""
    planning = [one["planning"] for one in found.values()]
    told: dict[str, Any] = {
        "queries": len(found),
        "ours_seconds": round(sum(one["ours"] for one in found.values()), 1),
        "plan_milliseconds": {"median": round(1e3 * statistics.median(planning)), "most": round(1e3 * max(planning))},
    }
    for other in ("duckdb", "before"):
        both = {number: one for number, one in found.items() if other in one}
        if both:
            mine, theirs = (sum(one[way] for one in both.values()) for way in ("ours", other))
            ratios = {number: one["ours"] / one[other] for number, one in both.items()}
            worst = sorted(ratios, key=ratios.__getitem__, reverse=True)[:SLOWEST]
            told[other] = {
                "queries": len(both),
                "seconds": round(theirs, 1),
                "ours_to_it": round(mine / theirs, 2),
                "worst": {number: round(ratios[number], 1) for number in worst},
            }
    return told


def imported() -> float:
    """Return the seconds of importing the front end where Polars is loaded already."""
    done = subprocess.run([sys.executable, "-c", MODULES.format(FRONT)], check=True, capture_output=True, text=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
