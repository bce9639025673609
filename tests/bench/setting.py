"""What the measurements share: a cluster with operator, store and data, and a description of the machine."""

from __future__ import annotations

import os
import platform
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.jobs import Bench
from tools import demo
from tools import lake as lakes
from tools.kubectl import chosen_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "gpuquery-bench"


@contextmanager
def prepared(scale: float = 0.01) -> Iterator[Bench]:
    """Yield a namespace with a store and small TPC-H tables, on the chosen cluster with the operator installed."""
    cluster = chosen_cluster()
    demo.install(cluster)
    demo.ensure_namespace(cluster, NAMESPACE)
    lakes.deploy(cluster, NAMESPACE)
    with lakes.connected(cluster, NAMESPACE) as lake, tempfile.TemporaryDirectory() as folder:
        demo.generate(scale, Path(folder))
        demo.upload(lake, Path(folder))
        bench = Bench(cluster, lake, NAMESPACE)
        try:
            yield bench
        finally:
            cluster.run("delete", "gqj", "--all", "-n", NAMESPACE, "--wait=false")


def conditions() -> dict[str, object]:
    """Describe the machine and the moment."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "kernel": platform.release(),
        "load": round(os.getloadavg()[0], 2),
        "at": datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%MZ"),
    }
