"""Parquet files: one schema for all of them, and how each is brought to it."""

from gpuquery.runner.inputs.formats.parquet.resolve import resolve
from gpuquery.runner.inputs.formats.parquet.scan import Parquet

__all__ = ["Parquet", "resolve"]
