"""GpuQuery: a Kubernetes operator for multi-GPU query clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.runner.output.reading import OpenTable

__all__ = ["open_table"]


def open_table(uri: str, version: int | None = None, *, storage_options: Mapping[str, str] | None = None) -> OpenTable:
    """Open a table of plain folders that jobs have written, at the version that is published now or at another one.

    `uri` is the `output.uri` of a job; `storage_options` are Polars' (`aws_endpoint_url`, `aws_region`, ...), and
    without keys those of the environment are used. Returns its files, columns and rows; `.lazy()` is a Polars LazyFrame
    of exactly these files. Needs `gpuquery[runner]`. Raises JobError with the way out, ValueError for an option that it
    does not know.
    """
    from gpuquery.runner.output import reading
    from gpuquery.runner.stores import options

    return reading.open_table(uri, version, options.access_by(storage_options or {}, uri.rstrip("/")))
