"""Plans with a Dask cluster, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.runner import plan

if TYPE_CHECKING:
    from gpuquery.plan.plan import Plan


def dask_plan(engine: str = "tasks", release: str = "26.04", replicas: int = 2, **dask: Any) -> Plan:
    """A plan of two pods with two GPUs each, whose Dask cluster is the pods."""
    document = {"way": "native", "workers": 4, "protocol": "ucx", **dask}
    return plan(
        "file:///nowhere", "SELECT 1", engine=engine, cluster="distributed", release=release, replicas=replicas, gpus=2,
        processes="pods", dask=document,
    )  # fmt: skip
