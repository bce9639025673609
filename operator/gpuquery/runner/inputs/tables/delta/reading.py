"""The files of one version of a Delta table, read.

Files of one shape and one partition are one plain scan, with the partition's values as literals. Files with deleted
rows are scanned with the numbers of their rows, and those that are deleted are left out.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import polars as pl

from gpuquery.runner import stores
from gpuquery.runner.inputs.base import File, Reading, Schema, schema_from_text, schema_to_text
from gpuquery.runner.inputs.tables.delta import keys, shapes, vectors
from gpuquery.runner.inputs.tables.delta.fit import Fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

MAX_NUMBERED = 1 << 31
"""Rows of the files of one scan with row numbers, which have 32 bits."""


class Shape(NamedTuple):
    """How files of one schema become the table's."""

    schema: Schema
    """Of the files."""
    fits: tuple[tuple[str, Fit], ...]
    """Names of the table's columns that are in files, in order, and how each is made."""

    @property
    def plain(self) -> bool:
        """Whether a scan gives the columns as they are."""
        same = all(fit.how == "same" and fit.source == name for name, fit in self.fits)
        return same and [name for name, _ in self.fits] == list(self.schema)


class Deleted(NamedTuple):
    """Rows of a file that are deleted."""

    rows: int
    """Rows of the file, deleted ones included."""
    vector: str
    """The positions, as the table has them, in base64."""


@dataclass(frozen=True)
class Delta(Reading):
    """One version of a table. The partition values of a file are its `keys`, by the names of the columns."""

    kind: ClassVar[str] = "delta"
    schema: Schema
    shapes: tuple[Shape, ...]
    shape_of: Mapping[str, int] = field(default_factory=dict)
    """Numbers of the shapes of files, by their URIs; of all others it is the first."""
    deleted: Mapping[str, Deleted] = field(default_factory=dict)
    """By the URIs of the files that have some."""
    warnings: tuple[str, ...] = ()

    @property
    def cpu_only(self) -> str:
        """Deleted rows are told by their numbers, and cudf-polars of RAPIDS 26.04 to 26.10 may number the rows of each
        part of a file anew (rapidsmpf/io.py splits a scan whether it numbers rows or not)."""
        if not self.deleted:
            return ""
        return (
            f"{len(self.deleted)} of its files have deletion vectors, which the GPU engines cannot apply: remove them "
            "with REORG TABLE ... APPLY (PURGE), or use engine: cpu"
        )

    def frame(
        self, item: Input, files: Sequence[File], access: StoreAccess, *, places: str | None = None
    ) -> pl.LazyFrame:
        """Scan the files."""
        groups: dict[Any, list[File]] = {}
        for file in files:
            what = (self.shape_of.get(file.uri, 0), file.keys, shapes.bucket(file.uri), file.uri in self.deleted)
            groups.setdefault(what, []).append(file)
        frames = []
        for (number, _, _, numbered), alike in groups.items():
            for part in self._parts(alike) if numbered else [alike]:
                frames.append(self._scan(self.shapes[number], part, access, places, numbered=numbered))
        if not frames:
            nothing: Schema = {places: pl.String()} if places else {}
            return pl.LazyFrame(schema=self.schema | nothing)
        return frames[0] if len(frames) == 1 else pl.concat(frames)

    def to_json(self) -> dict[str, Any]:
        """Write it down."""
        return {
            "schema": schema_to_text(self.schema),
            "shapes": [
                [schema_to_text(one.schema), [[name, fit.to_json()] for name, fit in one.fits]] for one in self.shapes
            ],
            "shapeOf": dict(self.shape_of),
            "deleted": {uri: list(one) for uri, one in self.deleted.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read it."""
        found = tuple(
            Shape(schema_from_text(text), tuple((name, Fit.from_json(fit)) for name, fit in fits))
            for text, fits in value["shapes"]
        )
        deleted = {uri: Deleted(*one) for uri, one in value["deleted"].items()}
        return cls(schema_from_text(value["schema"]), found, value["shapeOf"], deleted)

    def _parts(self, files: Sequence[File]) -> list[list[File]]:
        """Split files so that the rows of each part can be numbered."""
        parts: list[list[File]] = []
        total = MAX_NUMBERED
        for file in files:
            if total + self.deleted[file.uri].rows > MAX_NUMBERED:
                parts.append([])
                total = 0
            parts[-1].append(file)
            total += self.deleted[file.uri].rows
        return parts

    def _scan(
        self, shape: Shape, files: Sequence[File], access: StoreAccess, places: str | None, *, numbered: bool
    ) -> pl.LazyFrame:
        row = "row"
        while row in shape.schema or row in self.schema or row == places:
            row += "_"
        frame = pl.scan_parquet(
            [stores.of(file.uri).source(file.uri) for file in files],
            glob=False,
            hive_partitioning=False,
            schema=shape.schema,
            row_index_name=row if numbered else None,
            include_file_paths=places,
            storage_options=stores.scan_options(access, files[0].uri),
        )
        if numbered:
            frame = frame.filter(~pl.col(row).is_in(self._positions(files, frame.collect_schema()[row]).implode()))
        values = dict(files[0].keys)
        if not numbered and not values and shape.plain:
            return frame
        fits = dict(shape.fits)
        columns = [
            fits[name].column(name, dtype) if name in fits else keys.literal(values[name], dtype).alias(name)
            for name, dtype in self.schema.items()
        ]
        return frame.select([*columns, pl.col(places)] if places else columns)

    def _positions(self, files: Sequence[File], dtype: pl.DataType) -> pl.Series:
        """Numbers of the deleted rows, counted through all files."""
        found, before = [], 0
        for file in files:
            one = self.deleted[file.uri]
            positions = pl.Series(vectors.positions(base64.b64decode(one.vector)), dtype=pl.UInt64)
            found.append(positions + before)
            before += one.rows
        return pl.concat(found).cast(dtype)
