"""What the GPU engines have in common: their cell of the release table, Polars' `GPUEngine`, and classified faults."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.plan.releases import RELEASES, Cell
from gpuquery.runner.engines.rapidsmpf_options import executor
from gpuquery.runner.failures.engines import classify_engine
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.plan.plan import Plan


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Give faults of GPU, transport and scratch their class; what is of another kind passes."""
    try:
        yield
    except JobError:
        raise
    except BaseException as exc:  # a panic of Polars is no Exception
        if error := classify_engine(exc):
            raise error from exc
        raise


def cell(plan: Plan) -> Cell:
    """Return what the release can do with the plan's engine and cluster; raises JobError(InvalidPlan)."""
    release = RELEASES.get(plan.release)
    if release is None:
        raise JobError(
            Failure.INVALID_PLAN,
            f'release "{plan.release}" is not known to this image: it knows {", ".join(RELEASES)}',
        )
    return release.cells[plan.engine, plan.cluster]


def gpu_engine(plan: Plan) -> pl.GPUEngine:
    """Up to 26.04 the options say whether it is one GPU, or the workers of the process's default Dask client."""
    options = {**(cell(plan).options or {}), **executor(plan.executor_options), "sink_to_directory": True}
    return pl.GPUEngine(executor="streaming", raise_on_fail=True, executor_options=options)
