"""Command lines and variables of Dask's programs, for a release and an engine. Pure.

Sources: `dask scheduler --help` and `dask worker --help` of distributed 2025.7 to 2026.7, `dask cuda worker --help` of
dask-cuda 25.8 to 26.10; variables `DASK_*` from Dask's documentation of its configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.api.labels import DASHBOARD_PORT
from gpuquery.plan.dask import flags
from gpuquery.runner.engines.dask.client import CONNECT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.plan.plan import Dask, Plan

DEATH_SECONDS = 300
"""How long a worker looks for its scheduler before it gives up. The supervisors end it sooner, if one is left."""

FORCED: Mapping[str, str] = {
    # A query may hold a worker's event loop for hours, and the scheduler restarts those that do not beat (distributed
    # #8538).
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "None",
    "DASK_DISTRIBUTED__SCHEDULER__IDLE_TIMEOUT": "None",
    "DASK_DISTRIBUTED__SCHEDULER__NO_WORKERS_TIMEOUT": "None",
    "DASK_DISTRIBUTED__WORKER__LIFETIME__DURATION": "None",
    **flags.VARIABLES,
}
"""Variables of Dask's processes that a job cannot set."""
PRESETS: Mapping[str, str] = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": f"{CONNECT_SECONDS}s",
    "UCX_WARN_UNUSED_ENV_VARS": "n",
}
"""Variables that a job can set otherwise."""


@dataclass(frozen=True)
class Workers:
    """The workers of one pod."""

    plan: Plan
    dask: Dask
    scheduler: str
    """Address of the scheduler."""
    name: str
    """Name of the pod."""
    folder: str
    """Where they keep their files."""
    memory_limit: int = 0
    """Bytes of memory of the pod; 0: as much as the machine has."""

    @property
    def count(self) -> int:
        """How many there are."""
        return max(1, self.dask.workers // max(1, self.plan.replicas))


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of Dask's processes, from those of this one."""
    return {**PRESETS, **given, **FORCED}


def scheduler(dask: Dask, host: str, file: str) -> list[str]:
    """Return the arguments of the scheduler, which writes its address into a file."""
    shown = ["--dashboard", "--dashboard-address", f":{DASHBOARD_PORT}"]
    hidden = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    return [
        "scheduler", "--protocol", dask.protocol, "--host", host, "--port", "0", "--scheduler-file", file,
        *(shown if dask.dashboard else hidden),
    ]  # fmt: skip


def cuda_workers(workers: Workers) -> list[str]:
    """Return the arguments of the workers, one for each GPU that the process sees."""
    # Imports hold the interpreter for long, so they are over before the cluster is complete.
    imports = ["--pre-import", "cudf_polars"]
    return ["cuda", "worker", *_common(workers), *imports, *flags.arguments(workers.dask.options)]


def cpu_workers(workers: Workers) -> list[str]:
    """Return the arguments of as many workers without a GPU, for tests of everything else."""
    kept = {name: value for name, value in workers.dask.options.items() if name == "memory-limit"}
    # `dask worker` gives its nannies this list even if it is empty, and so does not look at the variable.
    preload = ["--preload-nanny", flags.NANNY]
    return ["worker", *_common(workers), *preload, "--nworkers", str(workers.count), *flags.arguments(kept)]


def _common(workers: Workers) -> list[str]:
    limit = str(workers.memory_limit // workers.count) if workers.memory_limit else "auto"
    return [
        workers.scheduler, "--protocol", workers.dask.protocol, "--name", workers.name, "--nthreads", "1",
        "--local-directory", workers.folder, "--death-timeout", str(DEATH_SECONDS),
        "--preload", "gpuquery.runner.engines.dask.preloads.worker", "--no-dashboard",
        *([] if "memory-limit" in workers.dask.options else ["--memory-limit", limit]),
    ]  # fmt: skip
