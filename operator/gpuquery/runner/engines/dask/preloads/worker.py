"""A preload of workers: imports first, then a heartbeat."""

from __future__ import annotations

from typing import Any

from gpuquery.runner.engines.dask.preloads import heartbeat

heartbeat.load()


def dask_setup(worker: Any) -> None:
    """Called by Dask before the worker connects to the scheduler."""
    heartbeat.start("worker")
