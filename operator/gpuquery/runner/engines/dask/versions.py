"""Versions: whether the processes of a Dask cluster have the packages of this one.

Plans and tasks go to them as pickled objects of cudf-polars, which another version reads wrongly or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.engines.dask import injected
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.engines.dask.client import Cluster

BASIC = ("python", "dask", "distributed")
"""Compared first, for without them not even the question after the others can be asked."""
ALL = (*BASIC, "cudf-polars", "polars")
MAX_NAMED = 3


def check(cluster: Cluster, *, graphs: bool) -> None:
    """Compare; raises JobError(ReleaseMismatch) that names both sides.

    `graphs`: whether the scheduler reads graphs of cudf-polars' tasks and so must hold it too.
    """
    mine = injected.packages()
    told = cluster.guard.call("asking for the versions of Dask", cluster.client.get_versions, seconds=60)
    sides = {"the scheduler": _basic(told["scheduler"])}
    sides |= {f"the worker {cluster.workers.get(a, a)}": _basic(found) for a, found in told["workers"].items()}
    refuse(mine, sides, BASIC)
    scheduler = cluster.scheduler(injected.packages)
    refuse(mine, {"the scheduler": scheduler}, [name for name in ALL if graphs or name in scheduler])
    workers = {f"the worker {cluster.workers[a]}": found for a, found in cluster.run(injected.packages).items()}
    refuse(mine, workers, ALL)


def _basic(told: Mapping[str, Any] | None) -> Mapping[str, str]:
    packages = dict((told or {}).get("packages") or {})
    host = (told or {}).get("host") or {}
    python = str(packages.get("python") or host.get("python") or "")
    return {**packages, "python": ".".join(python.split(".")[:2])}


def refuse(mine: Mapping[str, str], sides: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> None:
    """Raise JobError(ReleaseMismatch) if a side has another version of one of these packages."""
    for name in names:
        other = {side: found.get(name) for side, found in sides.items() if found.get(name) != mine.get(name)}
        if other:
            first = next(iter(other))
            more = f" and {len(other) - 1} more" if len(other) > 1 else ""
            theirs = f"{name} {other[first]}" if other[first] else f"no {name}"
            raise JobError(
                Failure.RELEASE_MISMATCH,
                f"{first}{more} of the Dask cluster has {theirs}, and the job's image has {name} "
                f"{mine.get(name, 'not at all')}: they exchange objects of it, so use the same image for both "
                "(runtime.image), or runtime.release of the cluster's",
            )
