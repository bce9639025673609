"""From a plan to a LazyFrame, for one target: the CPU, or GPUs of one RAPIDS release."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from gpuquery.runner.query.sql.compile.partitions import Restriction
    from gpuquery.runner.query.sql.compile.target import Target
    from gpuquery.runner.query.sql.plan import Statement


def compiled(statement: Statement, frames: Mapping[str, pl.LazyFrame], target: Target) -> pl.LazyFrame:
    """Compile a statement over the inputs' frames: see `statement.compiled`."""
    from gpuquery.runner.query.sql.compile import statement as whole  # functions import from this package as well

    return whole.compiled(statement, frames, target)


def restrictions(statement: Statement, target: Target) -> tuple[Restriction, ...]:
    """Return what of a statement several GPUs do not share: see `partitions.restrictions`."""
    from gpuquery.runner.query.sql.compile import partitions

    return partitions.restrictions(statement, target)
