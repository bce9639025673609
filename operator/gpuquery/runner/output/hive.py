"""Hive layout: `column=value/` folders that Polars, pyarrow and DuckDB read back to the very same values.

Values are percent-encoded but for letters, digits, `_`, `-` and `.`: the readers disagree about many other characters
(DuckDB silently loses the rows of a value with a backslash, Polars takes `*` for a glob), but all decode percent signs.
Null is hive's own `__HIVE_DEFAULT_PARTITION__`; that text itself cannot be told from null by any encoding (Polars and
pyarrow decode first and compare then), so it is refused. The empty string is `column=`, which all three read back.

Names of columns are not decoded by Polars and DuckDB, so only names that need no encoding can become folders.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import types

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NULL = "__HIVE_DEFAULT_PARTITION__"
_NAME = re.compile(r"[\w.-]+( [\w.-]+)*")
MAX_SAID = 5
_ALLOWED = (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Date, pl.Datetime, pl.Decimal)


def check_schema(schema: Mapping[str, pl.DataType], partition_by: Sequence[str]) -> None:
    """Raise UserError if a result of this schema cannot be laid out by these columns."""
    if not schema:
        raise _refuse("the result has no columns, so there is nothing to write")
    if said := types.refusals(schema):
        raise _refuse("; ".join(said[:MAX_SAID]))
    for column in partition_by:
        if column not in schema:
            raise _refuse(f"output.partitionBy names {lacking(column, list(schema))}")
        _check_column(column, schema[column])
    if partition_by and len(schema) == len(partition_by):
        raise _refuse("output.partitionBy names all columns of the result, so the files would have none")


def partition_values(keys: pl.DataFrame) -> dict[str, str | None]:
    """Give the values of one partition (a frame of one row) as text.

    Column by column: Polars asks for it from a thread of its own, and a `select` there would wait for another of them.
    """
    texts = [column.cast(pl.String)[0] for column in keys]
    values: dict[str, str | None] = dict(zip(keys.columns, texts, strict=True))
    for column, value in values.items():
        if value == NULL:
            raise _refuse(
                f"column {column!r} has the value {NULL!r}, which every reader of hive folders takes for null: "
                "replace it in the query, or do not partition by this column"
            )
    return values


def folder(values: Mapping[str, str | None]) -> str:
    """Path of a partition's folder with a slash at its end; empty for none."""
    return "".join(f"{column}={encode(value)}/" for column, value in values.items())


def encode(value: str | None) -> str:
    """Encode one value. `~` too is encoded, as Hive does; `quote` would leave it."""
    return NULL if value is None else quote(value, safe="").replace("~", "%7E")


def _check_column(column: str, dtype: pl.DataType) -> None:
    if not (isinstance(dtype, _ALLOWED) or dtype.is_numeric()):
        raise _refuse(
            f"output.partitionBy names {column!r} of type {dtype}, but a folder's name can hold only texts, numbers, "
            "booleans, dates and timestamps: cast it in the query, or partition by another column"
        )
    if isinstance(dtype, pl.Datetime) and dtype.time_zone not in (None, "UTC"):
        raise _refuse(
            f"output.partitionBy names {column!r} of type {dtype}, but readers know no time zones in names of folders: "
            "make it UTC or a date in the query, or partition by another column"
        )
    if not _NAME.fullmatch(column):
        raise _refuse(
            f"output.partitionBy names {column!r}, but readers do not decode names of folders: rename the column in "
            "the query to letters, digits, '_', '-', '.' and single spaces"
        )


def lacking(column: str, known: Sequence[str]) -> str:
    """Say that a result with the columns `known` does not have this one."""
    close = difflib.get_close_matches(column, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(known[:30]) + (f" and {len(known) - 30} more" if len(known) > 30 else "")
    return f"{column!r}, which the result does not have; it has {shown}{hint}"


def _refuse(message: str) -> JobError:
    return JobError(Failure.USER_ERROR, message)
