"""CSV files: types that were declared, or that all values have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import polars as pl

from gpuquery.api.spec import CsvOptions
from gpuquery.runner import stores
from gpuquery.runner.inputs import faults
from gpuquery.runner.inputs.base import File, Reading, Schema, schema_from_text, schema_to_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess


@dataclass(frozen=True)
class Csv(Reading):
    """Files that Polars reads as they are."""

    kind: ClassVar[str] = "csv"
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


def resolve(item: Input, files: Sequence[File], access: StoreAccess) -> Csv:
    """Look at the files. Raises JobError, or what Polars raises."""
    faults.refuse_hive(item)
    return Csv(dict(_scan(item, files, access, None).collect_schema()))


def _scan(item: Input, files: Sequence[File], access: StoreAccess, places: str | None) -> pl.LazyFrame:
    csv = item.csv or CsvOptions()
    return pl.scan_csv(
        [stores.of(file.uri).source(file.uri) for file in files],
        glob=False,
        has_header=csv.header,
        separator=csv.separator,
        null_values=list(csv.null_values) or None,
        try_parse_dates=True,
        include_file_paths=places,
        storage_options=stores.scan_options(access, files[0].uri),
    )
