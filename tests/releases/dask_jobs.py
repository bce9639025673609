"""What tests of Dask clusters share: releases with their engines, and plans of three pods or on a warm cluster."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.choices import ClusterChoice
from gpuquery.plan import releases
from gpuquery.plan.releases import Way
from tests.releases import environments
from tests.releases.environments import CHECKED, python_of
from tests.support.dask_pods import Pods, dask
from tests.support.runner import plan, result

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from gpuquery.plan.plan import Plan
    from tests.support.dask_cluster import Warm

LONG = partial(pytest.param, marks=pytest.mark.faults)
"""What `make test-dask-faults` runs and `make test-releases` does not."""
Kind = tuple[str, str]
"""A release and an engine."""
TASKS, RAPIDSMPF = ("26.04", "tasks"), ("26.10", "rapidsmpf")
KINDS = [
    (name, engine.value)
    for name in CHECKED
    if (release := releases.find(name))
    for (engine, cluster), cell in release.cells.items()
    if cluster is ClusterChoice.DISTRIBUTED and cell.way in (Way.DASK, Way.SPMD)
]
"""Every engine that can run on a Dask cluster, of each release that is asked for."""
ROWS = 1000
SQL = "SELECT k, v FROM t WHERE v >= 10"
WANTED = [(n % 7, n) for n in range(10, ROWS)]
BEAT = 8.0
LAST = pytest.mark.skipif("26.10" not in CHECKED, reason="26.10 was not asked for")


def each(short: Collection[Kind] = (), *, among: Collection[Kind] | None = None, of: str = "") -> list[Any]:
    """Every kind, or those `among` some, or `of` one engine; what is not `short` is in the long schedule only."""
    asked = [kind for kind in KINDS if of in ("", kind[1]) and (among is None or kind in among)]
    return [(pytest.param if kind in short else LONG)(*kind, id="-".join(kind)) for kind in asked]


def stub(release: str) -> dict[str, str]:
    """What 26.04 needs on a machine without a driver."""
    if release != "26.04":
        return {}
    return {"LD_LIBRARY_PATH": str(environments.nvml_stub(python_of(release).parents[1]))}


def write_table(folder: Path) -> None:
    """Write what `planned` reads."""
    pl.DataFrame({"k": [n % 7 for n in range(ROWS)], "v": list(range(ROWS))}).write_parquet(folder / "t.parquet")


def planned(data: Path, release: str, engine: str, **changes: Any) -> Plan:
    document = {
        "inputs": {"t": f"file://{data}/t.parquet"}, "engine": engine, "cluster": "distributed", "replicas": 3,
        "processes": "pods", "release": release, "heartbeatSeconds": BEAT,
        "dask": dask(protocol=releases.RELEASES[release].dask.protocol), **changes,
    }  # fmt: skip
    if releases.RELEASES[release].sql_unlike:
        document = {"dialect": "polars", **document}
    return plan(data, SQL, **document)


def rows(pods: Pods) -> list[tuple[int, int]]:
    return sorted(result(pods.folder).select("k", "v").rows(), key=lambda row: row[1])


def attached(cluster: Warm, workers: int = 2, **more: Any) -> dict[str, Any]:
    """What a plan has for a query on it."""
    protocol = cluster.address.partition(":")[0]
    asked = dask(way="attach", workers=workers, scheduler=cluster.address, protocol=protocol, **more)
    return {"replicas": 1, "processes": "one", "gpus": 0, "dask": asked}
