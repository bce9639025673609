"""The client of a Dask cluster over UCX, with the packages of a release and no query."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from gpuquery.plan.releases import RELEASES
from tests.releases.dask_jobs import RAPIDSMPF, TASKS, each, stub
from tests.releases.environments import python_of
from tests.support.dask_cluster import Warm
from tests.support.dask_pods import TCP
from tests.support.engine_ranks import environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.releases, pytest.mark.slow, pytest.mark.timeout(900)]

PATIENT = """
import os, sys, threading, time
import cudf_polars
from gpuquery.runner.engines.dask.client import Cluster
from gpuquery.runner.engines.dask.guard import Guard

cluster = Cluster(Guard(), heartbeat=0.15)
cluster.connect(sys.argv[1], seconds=120)
cluster.complete(2, seconds=120)
late = 0

def look():
    global late
    while True:
        try:
            cluster.client.sync(cluster._answer)
        except TimeoutError:
            late += 1

threading.Thread(target=look, daemon=True).start()
for _ in range(10):
    cluster.client.run_on_scheduler(time.sleep, 3)
    numbers = [float(n) for n in range(200_000)]
    texts = [str(n) for n in numbers]
print("late", late, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(("release", "engine"), each(among=[TASKS, RAPIDSMPF]))
def test_a_client_outlives_a_scheduler_that_is_busy_for_long(tmp_path: Path, release: str, engine: str) -> None:
    """Questions that were given up over UCX made it crash in Python's allocator."""
    python = python_of(release)
    cluster = Warm(python, tmp_path / "warm", protocol=RELEASES[release].dask.protocol, **stub(release))
    try:
        client = subprocess.run(
            [python, "-c", PATIENT, cluster.address], env=environment(**TCP, **stub(release)), capture_output=True,
            text=True, timeout=600, check=False,
        )  # fmt: skip
        assert client.returncode == 0, f"{client.stderr[-4000:]}\n{cluster.log()[-4000:]}"
        assert int(client.stdout.split()[-1]) > 10, "no answer was late, so this test shows nothing"
        assert cluster.runs()
    finally:
        cluster.close()
