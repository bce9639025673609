"""The operator as a process: watches, work, leadership, probes and metrics."""

from gpuquery.app.main import main, run
from gpuquery.app.settings import Settings

__all__ = ["Settings", "main", "run"]
