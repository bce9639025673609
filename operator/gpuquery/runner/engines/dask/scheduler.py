"""A preload of Dask's schedulers that others start: imports before connections, as `beats.load` says why."""

from __future__ import annotations

from gpuquery.runner.engines.dask import beats

beats.load()
