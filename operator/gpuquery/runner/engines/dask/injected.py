"""Functions that run inside a Dask cluster without this package: Dask sends them by value, once `register` was called.

They use the standard library and what every Dask has.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

PREFIX = "gpuquery-"
"""How names of folders with part files begin. The scheduler's mark follows: several clusters may share one place."""
PLACE_SECONDS = 30.0
"""A job that waits asks each second; one that has not for so long loses its place."""
FETCHED = ".fetched"
"""Ending of the name of what is left of a downloaded part file, after its former size in bytes."""
STALE_SECONDS = 7 * 86_400.0
"""Age at which a folder of another scheduler counts as left behind: every query writes something sooner."""


def register() -> None:
    """Have Dask send the functions of this module, not their names."""
    import sys

    import cloudpickle  # type: ignore[import-not-found,unused-ignore]

    cloudpickle.register_pickle_by_value(sys.modules[__name__])


def folders(*, dask_scheduler: Any) -> dict[str, str]:
    """Return the folders of the workers, by address."""
    return {address: str(state.local_directory) for address, state in dask_scheduler.workers.items()}


def mark(*, dask_scheduler: Any) -> str:
    """Return a few characters that differ from those of other schedulers."""
    return str(dask_scheduler.id).rpartition("Scheduler-")[2][:8]


def packages() -> dict[str, str]:
    """Return the versions of packages that both sides must have alike; what is not installed is left out."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in ("dask", "distributed", "cudf-polars", "polars"):
        for ending in ("-cu12", "-cu13", ""):
            try:
                found[name] = version(name + ending)
                break
            except PackageNotFoundError:
                continue
    return found


def connected(dask_worker: Any = None) -> bool:
    """Whether rapidsmpf (up to 26.04) has connected this worker with the others."""
    context = getattr(dask_worker, "_rapidsmpf_worker_context", None)
    return getattr(context, "comm", None) is not None


def take(client: str, job: str, *, dask_scheduler: Any) -> str:
    """Take the cluster for a job, for as long as its client is connected; returns the job that comes before it, if any.

    Clients get it in the order in which they first asked; one that is gone, or has long not asked again, loses its
    place. The lease is a plugin of the scheduler, by Dask's own interface; nothing else there is changed.
    """
    import time

    from distributed.diagnostics.plugin import SchedulerPlugin  # type: ignore[import-not-found,unused-ignore]

    holder = getattr(dask_scheduler, "_gpuquery_holder", None)
    if holder is not None and holder["client"] == client:
        return ""
    now = time.monotonic()
    known = getattr(dask_scheduler, "_gpuquery_queue", [])
    queue = [one for one in known if one["client"] in dask_scheduler.clients and now - one["asked"] <= PLACE_SECONDS]
    mine = next((one for one in queue if one["client"] == client), None)
    if mine is None:
        mine = {"client": client, "job": job}
        queue.append(mine)
    mine["asked"] = now
    dask_scheduler._gpuquery_queue = queue
    if holder is not None and holder["client"] in dask_scheduler.clients:
        return str(holder["job"])
    if queue[0] is not mine:
        return str(queue[0]["job"])
    queue.remove(mine)

    class Lease(SchedulerPlugin):  # type: ignore[misc,unused-ignore]
        name = f"gpuquery-{client}"

        def remove_client(self, scheduler: Any, client: str) -> None:
            give(client, dask_scheduler=scheduler)

    dask_scheduler._gpuquery_holder = {"client": client, "job": job}
    if not hasattr(dask_scheduler, "_gpuquery_left"):
        dask_scheduler._gpuquery_left = []
    dask_scheduler.add_plugin(Lease(), idempotent=True)
    return ""


def give(client: str, *, dask_scheduler: Any) -> None:
    """Give the cluster back, so that the next job gets it."""
    held = getattr(dask_scheduler, "_gpuquery_holder", None)
    if held is not None and held["client"] == client:
        dask_scheduler._gpuquery_holder = None
        dask_scheduler.remove_plugin(name=f"gpuquery-{client}")


def worker_ttl(*, dask_scheduler: Any) -> float:
    """Return the seconds without a heartbeat after which this scheduler gives a worker up; 0 where it never does."""
    return float(dask_scheduler.worker_ttl or 0)


def engaged(client: str, engine: str, *, dask_scheduler: Any) -> None:
    """Remember that the holder of the cluster has made an engine on its workers, should it not live to take it down."""
    held = getattr(dask_scheduler, "_gpuquery_holder", None)
    if held is not None and held["client"] == client and engine not in dask_scheduler._gpuquery_left:
        dask_scheduler._gpuquery_left.append(engine)


def left(gone: list[str], *, dask_scheduler: Any) -> list[str]:
    """Return the engines that earlier holders may have left on the workers; forget those that are gone."""
    known: list[str] = getattr(dask_scheduler, "_gpuquery_left", [])
    dask_scheduler._gpuquery_left = [engine for engine in known if engine not in gone]
    return list(dask_scheduler._gpuquery_left)


def dissolve(engines: list[str], dask_worker: Any = None) -> int:
    """Take down what engines of holders that died have left on this worker: memory of its GPU, a communicator.

    `DaskEngine` of 26.06 to 26.10 keeps it as an attribute of the worker (cudf_polars/engine/dask.py). A worker that
    still runs a query of theirs answers when that is over.
    """
    import importlib

    found = [
        engine for engine in engines if getattr(dask_worker, f"_cudf_polars_mp_context_{engine}", None) is not None
    ]
    for engine in found:
        importlib.import_module("cudf_polars.engine.dask")._teardown_worker(uid=engine, dask_worker=dask_worker)
    return len(found)


def prepare(parent: str, name: str) -> int:
    """Make a folder for part files, and remove those of attempts that died; returns the bytes that are free.

    `name` is `gpuquery-<mark>-...`. Who has the lease removes all of this scheduler's; in a folder that other clusters
    use too (a shared volume) theirs only if nobody has touched them for days.
    """
    import time

    ours = name[: name.index("-", len(PREFIX)) + 1]
    for entry in os.scandir(parent):
        if not entry.name.startswith(PREFIX) or entry.name == name or not entry.is_dir(follow_symlinks=False):
            continue
        if entry.name.startswith(ours) or time.time() - entry.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(entry.path, ignore_errors=True)
    os.makedirs(os.path.join(parent, name), exist_ok=True)
    return shutil.disk_usage(parent).free


def listed(folder: str) -> dict[str, int] | None:
    """Return the sizes of the parquet files of a folder, by name; None if there is no such folder.

    A file that goes under our eyes was fetched: on a volume that several machines share a list may be a little old.
    """
    import contextlib

    found = {}
    try:
        for entry in os.scandir(folder):
            if entry.name.endswith(".parquet"):
                with contextlib.suppress(FileNotFoundError):
                    found[entry.name] = entry.stat().st_size
    except FileNotFoundError:
        return None
    return found


def fetched(file: str) -> None:
    """Leave of a file no more than its name and its size: it takes no room, and it is known that it was there."""
    left = f"{file}.{os.path.getsize(file)}{FETCHED}"
    os.replace(file, left)
    os.truncate(left, 0)


def kept(folder: str) -> list[tuple[str, int]] | None:
    """Return names and sizes of all parquet files that ever were in a folder, those fetched too; None if it is gone.

    One that goes under our eyes is left out, as in `listed`: the worker that it was fetched from knows of it.
    """
    import contextlib

    if not os.path.isdir(folder):
        return None
    found = []
    for entry in os.scandir(folder):
        if entry.name.endswith(FETCHED):
            name, _, size = entry.name.removesuffix(FETCHED).rpartition(".")
            found.append((name, int(size)))
        elif entry.name.endswith(".parquet"):
            with contextlib.suppress(FileNotFoundError):
                found.append((entry.name, entry.stat().st_size))
    return sorted(found)


def whole(file: str) -> bool:
    """Whether a file ends as a parquet file does, with a footer of the length that stands there."""
    total = os.path.getsize(file)
    with open(file, "rb") as opened:
        if total < 12 or opened.read(4) != b"PAR1":
            return False
        opened.seek(total - 8)
        end = opened.read(8)
    return end[4:] == b"PAR1" and 0 < int.from_bytes(end[:4], "little") <= total - 12


def size(file: str) -> int:
    """Return how many bytes a file has."""
    return os.path.getsize(file)


def piece(file: str, start: int, most: int) -> bytes:
    """Return some bytes of a file."""
    with open(file, "rb") as opened:
        opened.seek(start)
        return opened.read(most)


def removed(path: str) -> bool:
    """Remove a file or a folder; returns whether it is gone."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.remove(path)
    return not os.path.lexists(path)
