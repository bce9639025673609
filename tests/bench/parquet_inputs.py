"""What it costs to resolve an input of 10,000 parquet files, against a bare listing and bare reads of their ends.

Bare: one listing, then the last 32 KiB of each file, 64 at a time, looked at by nobody. Both run in turns in one
process against the same SeaweedFS; the first pair warms up and is not counted. One JSON line on stdout.

    python -m tests.bench.parquet_inputs [--files 10000] [--pairs 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs, stores
from gpuquery.runner.inputs import keys, listing
from gpuquery.runner.inputs.formats import parquet
from tests.bench.footers import bare, upload
from tests.bench.setting import conditions
from tests.support.seaweed import serve

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the resolution of parquet files.")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "weed") as server:
        os.environ.update(server.environment)
        access = StoreAccess(endpoint=server.endpoint, path_style=True)
        glob = upload(server, Path(folder), options.files)
        print(json.dumps(measure(glob, access, options)), flush=True)


def measure(glob: str, access: StoreAccess, options: argparse.Namespace) -> dict[str, object]:
    """Run pairs in turns."""
    item = Input.model_validate({"name": "t", "uri": glob, "format": "parquet"})
    store = stores.files(glob, access)
    files, _ = keys.filled(item, listing.listed(item, access).files)

    def listed_and_read() -> None:
        found = listing.listed(item, access).files
        bare(store, [file.uri for file in found], {file.uri: file.bytes for file in found})  # type: ignore[arg-type]

    runs: dict[str, Callable[[], object]] = {
        "bare": listed_and_read,
        "resolve": lambda: inputs.resolve([item], access),
        "schema_alone": lambda: parquet.resolve(item, files, access),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(options.pairs + 1):
        for name in list(runs) if number % 2 else reversed(runs):
            begun = time.perf_counter()
            runs[name]()
            times[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    return {
        "measurement": "resolution of parquet files on SeaweedFS against listing and bare range reads",
        "files": options.files,
        "pairs": options.pairs,
        **{f"{name}_seconds": round(seconds, 3) for name, seconds in medians.items()},
        "ratio_of_medians": round(medians["resolve"] / medians["bare"], 3),
        "polars": pl.__version__,
        **conditions(),
    }


if __name__ == "__main__":
    main()
