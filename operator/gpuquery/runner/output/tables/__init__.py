"""Formats of tables. This is their registry: a format is one module (or folder) here, and one line in FORMATS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.output import OutputFormat
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.tables.delta import Delta
from gpuquery.runner.output.tables.hive import Hive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.runner.output.tables.base import Asked, Table


def _iceberg(asked: Asked) -> Table:
    from gpuquery.runner.output.tables.iceberg.table import Iceberg  # it imports pyiceberg

    return Iceberg(asked)


FORMATS: Mapping[str, Callable[[Asked], Table]] = {"delta": Delta, "table": _iceberg}
"""Formats other than hive folders, by the field of `output` that asks for them."""


def of(asked: Asked) -> Table:
    """Return the table that a plan's output names. Raises JobError(InvalidPlan)."""
    for field, make in FORMATS.items():
        if getattr(asked.plan.output, field, None) is not None:
            return make(asked)
    if (output := asked.plan.output).format is not OutputFormat.HIVE:
        raise JobError(
            Failure.INVALID_PLAN,
            f"output {output.shown} is of format {output.format}, which this image does not write: use an image of the "
            "operator's version",
        )
    return Hive(asked)
