"""A contract on the columns of an input: what the query's author relies on."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from gpuquery.api.schema import Model


class ExtraColumns(StrEnum):
    """Whether an input may have columns that its contract does not name."""

    ALLOW = "allow"
    FORBID = "forbid"


class ColumnContract(Model):
    """What one column must be."""

    type: Annotated[str, Field(min_length=1, max_length=256)]
    """Its type, written as in Polars: `Int64`, `String`, `Date`, `Decimal(15, 2)`, `Datetime('us')`, `List(Int32)`."""
    nullable: bool = True
    """Whether it may have nulls. `false` is checked with the footers' null counts, before the query runs."""


class Contract(Model):
    """What the columns of an input must be. Every column that differs is reported before the query runs."""

    columns: Annotated[Mapping[str, ColumnContract], Field(min_length=1, max_length=1024)]
    """Columns by name: `{o_orderkey: {type: Int64, nullable: false}}`."""
    extra_columns: ExtraColumns = ExtraColumns.ALLOW
    """Whether the input may have other columns: `allow` or `forbid`."""
