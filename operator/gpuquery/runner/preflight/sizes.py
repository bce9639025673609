"""The sizes of what a plan reads, for the report of a preflight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner import sizing
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.failures.stores import redact
from gpuquery.runner.sizing.estimate import NOTHING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.api.status import PreflightStatus
    from gpuquery.plan.plan import StoreAccess

_FIELDS = ("files", "rows", "input_bytes", "peak_bytes", "io_bound", "basis")


def filled(
    status: PreflightStatus, frame: pl.LazyFrame, store: StoreAccess, known: Mapping[str, int] = NOTHING
) -> PreflightStatus:
    """Fill in the sizes; where they cannot be estimated, a warning says why. Raises JobError if the store fails.

    `known` has sizes of files, which are not asked for then. Without a `basis` sizes count as unknown: zero bytes
    would send the job to the CPU.
    """
    try:
        made = sizing.estimate(frame, store, known)
    except JobError:
        raise
    except (Exception, pl.exceptions.PanicException) as exc:
        unknown = f"the sizes could not be estimated: {redact(first_paragraph(exc))[:200]}"
        return status.model_copy(update={"warnings": (*status.warnings, unknown)})
    return status.model_copy(update={name: getattr(made, name) for name in _FIELDS})
