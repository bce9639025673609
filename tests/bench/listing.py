"""How long an input's files take to be found, against bare listings, and what a million of them take.

Objects of one byte below one prefix of SeaweedFS, listed by `listing.listed` (rules, order, a look above the folder), by
boto3's paginator and by obstore, in turns in one process; the first round warms up and is not counted. Then a million
keys from a store that makes them up. One JSON line on stdout.

    python -m tests.bench.listing [--files 10000] [--rounds 7] [--many 1000000]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import obstore

from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.inputs import listing
from gpuquery.runner.stores.base import Found
from gpuquery.runner.stores.s3 import client
from tests.bench.setting import conditions
from tests.support.memory_backend import PAGE, Memory
from tests.support.seaweed import Seaweed, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Endless(Memory):
    """A store of so many objects, none of which takes memory."""

    def __init__(self, files: int) -> None:
        super().__init__()
        self.files_there = files

    def below(self, prefix: str, *, deep: bool = True) -> Iterator[Sequence[Found]]:
        """Make up pages of keys as writers of lakes name them."""
        for first in range(0, self.files_there if deep else 0, PAGE):
            yield [
                Found(f"{prefix}year=2026/month={n % 12:02}/part-{n:07}-9f86d081884c7d65.snappy.parquet", 1 << 20, f"{n:032x}")
                for n in range(first, min(first + PAGE, self.files_there))
            ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the listing of inputs against bare listings.")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--many", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "weed") as server:
        os.environ.update(server.environment)
        found = measured(server, options.files, options.rounds)
    print(json.dumps({"bench": "listing", **found, **many(options.many), **conditions()}), flush=True)


def measured(server: Seaweed, files: int, rounds: int) -> dict[str, object]:
    """Return medians in seconds, and their ratios."""
    bucket, asked = server.make_bucket(), server.client()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: asked.put_object(Bucket=bucket, Key=f"t/part-{n:06}.parquet", Body=b"x"), range(files)))
    access = StoreAccess(endpoint=server.endpoint, path_style=True)
    item = Input.model_validate({"name": "t", "uri": f"s3://{bucket}/t/", "format": "parquet"})

    def by_boto3() -> int:
        pages = client.s3_client(access).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="t/")
        return sum(len(page["Contents"]) for page in pages)

    def by_obstore() -> int:
        return sum(map(len, obstore.list(client.obstore_client(access, bucket), "t", chunk_size=PAGE)))

    runs: dict[str, Callable[[], int]] = {
        "listed": lambda: len(listing.listed(item, access).files), "boto3": by_boto3, "obstore": by_obstore,
    }  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            assert run() == files
            times[name] += [time.perf_counter() - began] * (number > 0)
    medians = {name: statistics.median(took) for name, took in times.items()}
    return {
        "files": files,
        "rounds": rounds,
        **{f"{name}_seconds": round(took, 4) for name, took in medians.items()},
        "against_boto3": round(medians["listed"] / medians["boto3"], 2),
        "against_obstore": round(medians["listed"] / medians["obstore"], 2),
    }


def many(files: int) -> dict[str, object]:
    """Return seconds and memory of a listing that waits for no store."""
    stores.STORES["http"] = Endless(files)
    item = Input.model_validate({"name": "t", "uri": "s3://lake/t/", "format": "parquet"})
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    found = listing.listed(item.model_copy(update={"uri": "http://host/t/"}), StoreAccess())
    took = time.perf_counter() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "many": len(found.files),
        "many_seconds": round(took, 2),
        "many_bytes_each": round(grown * 1024 / files),
    }


if __name__ == "__main__":
    main()
