"""The sizes of what a plan reads, for the report of a preflight."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import polars as pl

from gpuquery.api.status import PreflightStatus
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.errors import JobError, first_paragraph
from gpuquery.runner.sink.faults import redact

_MODULE = "gpuquery.runner.sizing"
_FIELDS = ("files", "rows", "input_bytes", "peak_bytes", "io_bound", "basis")


def filled(status: PreflightStatus, frame: pl.LazyFrame, store: StoreAccess) -> PreflightStatus:
    """Fill in the sizes; where they cannot be estimated, `basis` says why. Raises JobError if the store fails."""
    if importlib.util.find_spec(_MODULE) is None:
        return status.model_copy(update={"basis": "not estimated: this image has no estimate of sizes"})
    try:
        made: Any = importlib.import_module(_MODULE).estimate(frame, store)
    except JobError:
        raise
    except (Exception, pl.exceptions.PanicException) as exc:
        return status.model_copy(update={"basis": f"not estimated: {redact(first_paragraph(exc))[:200]}"})
    return status.model_copy(update={name: getattr(made, name) for name in _FIELDS})
