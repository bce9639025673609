"""Parquet files: one schema for all of them, and how each is brought to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import polars as pl

from gpuquery.runner import stores
from gpuquery.runner.inputs.base import File, Reading, Schema, schema_from_text, schema_to_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess


@dataclass(frozen=True)
class Parquet(Reading):
    """Files that Polars reads as they are."""

    kind: ClassVar[str] = "parquet"
    schema: Schema
    warnings: tuple[str, ...] = ()

    def frame(
        self, item: Input, files: Sequence[File], access: StoreAccess, *, places: str | None = None
    ) -> pl.LazyFrame:
        """Scan the files."""
        return _scan(item, files, access, places)

    def to_json(self) -> dict[str, Any]:
        """Write it down."""
        return {"schema": schema_to_text(self.schema)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read it."""
        return cls(schema_from_text(value["schema"]))


def resolve(item: Input, files: Sequence[File], access: StoreAccess) -> Parquet:
    """Look at the files' schemas. Raises JobError, or what Polars raises."""
    return Parquet(dict(_scan(item, files, access, None).collect_schema()))


def _scan(item: Input, files: Sequence[File], access: StoreAccess, places: str | None) -> pl.LazyFrame:
    return pl.scan_parquet(
        [stores.of(file.uri).source(file.uri) for file in files],
        glob=False,
        hive_partitioning=bool(item.hive_partitioned),
        include_file_paths=places,
        storage_options=stores.scan_options(access, files[0].uri),
    )
