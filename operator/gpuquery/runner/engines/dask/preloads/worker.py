"""A preload of workers: imports first, then a heartbeat."""

from __future__ import annotations

import os
from typing import Any

from gpuquery.runner import trust
from gpuquery.runner.engines.dask.preloads import heartbeat

# A worker in a pod of its own has no supervisor that would set them. Before anything looks for certificates.
os.environ.update(trust.variables())
heartbeat.load()


def dask_setup(worker: Any) -> None:
    """Called by Dask before the worker connects to the scheduler."""
    heartbeat.start("worker")
