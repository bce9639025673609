"""A preload of Dask's workers: signs of life."""

from __future__ import annotations

from typing import Any

from gpuquery.runner.engines.dask import beats

beats.load()


def dask_setup(worker: Any) -> None:
    """Called by Dask before the worker connects to the scheduler."""
    beats.start("worker")
