"""Sizes of what a query reads and holds, known before it runs: from the optimized plan, footers and samples."""

from gpuquery.runner.sizing.estimate import Estimate, estimate

__all__ = ["Estimate", "estimate"]
