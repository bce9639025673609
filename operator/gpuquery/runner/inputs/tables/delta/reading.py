"""The files of one version of a Delta table, read.

Files of one shape and one partition are one plain scan, with the partition's values as literals. Of many partitions
they are one scan, where the places of the files tell the values; GPU engines know no places, and get a scan for each
partition. Files with deleted rows are scanned with the numbers of their rows, and those that are deleted are left out.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import polars as pl

from gpuquery.runner import stores
from gpuquery.runner.inputs.base import File, Reading, Schema, schema_from_text, schema_to_text
from gpuquery.runner.inputs.tables.delta import keys, vectors
from gpuquery.runner.inputs.tables.delta.fit import Fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

MAX_SCANS = 64
"""Partitions that are read with a scan for each on the CPU too. With more, an `is_in` takes time by the square of their
number (a semi-join for each scan, in Polars 1.44's streaming engine); 1,500 took 40 s."""
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


class _Group(NamedTuple):
    """Files that are one scan."""

    shape: Shape
    files: Sequence[File]
    numbered: bool
    """Whether they have deleted rows."""
    placed: bool
    """Whether they are of several partitions."""


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
    gpu: bool = False
    """Whether a GPU engine reads."""

    def for_gpu(self) -> Self:
        """Have a scan for each partition, whatever their number."""
        return replace(self, gpu=True)

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
        placed = not self.gpu and len({file.keys for file in files}) > MAX_SCANS
        alike: dict[Any, list[File]] = {}
        for file in files:
            number, numbered = self.shape_of.get(file.uri, 0), file.uri in self.deleted
            what = (number, numbered, stores.bucket(file.uri), () if placed else file.keys)
            alike.setdefault(what, []).append(file)
        groups = [
            _Group(self.shapes[number], part, numbered, placed)
            for (number, numbered, *_), some in alike.items()
            for part in (self._parts(some) if numbered else [some])
        ]
        if not groups:
            nothing: Schema = {places: pl.String()} if places else {}
            return pl.LazyFrame(schema=self.schema | nothing)
        frames = [self._scan(group, access, places) for group in groups]
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
            "gpu": self.gpu,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read it."""
        found = tuple(
            Shape(schema_from_text(text), tuple((name, Fit.from_json(fit)) for name, fit in fits))
            for text, fits in value["shapes"]
        )
        deleted = {uri: Deleted(*one) for uri, one in value["deleted"].items()}
        return cls(schema_from_text(value["schema"]), found, value["shapeOf"], deleted, gpu=value["gpu"])

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

    def _scan(self, group: _Group, access: StoreAccess, places: str | None) -> pl.LazyFrame:
        row, place = self._free("row", group, places), places
        if group.placed and place is None:
            place = self._free("place", group, row)
        frame = pl.scan_parquet(
            [stores.of(file.uri).address(file.uri) for file in group.files],
            glob=False,
            hive_partitioning=False,
            schema=group.shape.schema,
            row_index_name=row if group.numbered else None,
            include_file_paths=place,
            storage_options=stores.scan_options(access, group.files[0].uri),
        )
        if group.numbered:
            positions = self._positions(group.files, frame.collect_schema()[row])
            frame = frame.filter(~pl.col(row).is_in(positions.implode()))
        values = self._values(group, place)
        if not group.numbered and not values and group.shape.plain:
            return frame
        fits = dict(group.shape.fits)
        columns = [
            fits[name].column(name, dtype) if name in fits else values[name].alias(name)
            for name, dtype in self.schema.items()
        ]
        columns += [pl.col(places)] if places else []
        if any(one.meta.root_names() for one in columns):
            return frame.select(columns)
        # A select of constants alone would have one row, whatever the files have.
        return frame.with_columns(columns).select([*self.schema])

    def _free(self, name: str, group: _Group, other: str | None) -> str:
        """A name that is no column's."""
        while name in group.shape.schema or name in self.schema or name == other:
            name += "_"
        return name

    def _values(self, group: _Group, place: str | None) -> dict[str, pl.Expr]:
        """The partition columns of files: of one partition, or told by the places of the files."""
        if not group.placed or place is None:
            return {name: keys.literal(text, self.schema[name]) for name, text in group.files[0].keys}
        sources = pl.Series([stores.of(file.uri).address(file.uri) for file in group.files])
        found = {}
        for at, (name, _) in enumerate(group.files[0].keys):
            dtype = self.schema[name]
            values = pl.Series([keys.value(file.keys[at][1], dtype) for file in group.files], dtype=dtype)
            found[name] = pl.col(place).replace_strict(sources, values, return_dtype=dtype)
        return found

    def _positions(self, files: Sequence[File], dtype: pl.DataType) -> pl.Series:
        """Numbers of the deleted rows, counted through all files."""
        found, before = [], 0
        for file in files:
            one = self.deleted[file.uri]
            positions = pl.Series(vectors.positions(base64.b64decode(one.vector)), dtype=pl.UInt64)
            found.append(positions + before)
            before += one.rows
        return pl.concat(found).cast(dtype)
