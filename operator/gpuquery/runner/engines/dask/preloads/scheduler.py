"""A preload of schedulers that dask-kubernetes starts: it imports before there are connections."""

from __future__ import annotations

from gpuquery.runner.engines.dask.preloads import heartbeat

heartbeat.load()
