"""The sizes of what a plan reads, for the report of a preflight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner import sizing
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.failures.stores import redact

if TYPE_CHECKING:
    from gpuquery.api.status import PreflightStatus
    from gpuquery.plan.plan import StoreAccess

_FIELDS = ("files", "rows", "input_bytes", "peak_bytes", "io_bound", "basis")


def filled(status: PreflightStatus, frame: pl.LazyFrame, store: StoreAccess) -> PreflightStatus:
    """Fill in the sizes; where they cannot be estimated, a warning says why. Raises JobError if the store fails.

    Without a `basis` sizes count as unknown: zero bytes would send the job to the CPU.
    """
    try:
        made = sizing.estimate(frame, store)
    except JobError:
        raise
    except (Exception, pl.exceptions.PanicException) as exc:
        unknown = f"the sizes could not be estimated: {redact(first_paragraph(exc))[:200]}"
        return status.model_copy(update={"warnings": (*status.warnings, unknown)})
    return status.model_copy(update={name: getattr(made, name) for name in _FIELDS})
