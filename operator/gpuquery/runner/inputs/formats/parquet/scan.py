"""How parquet files are read once they are resolved.

Files of the wanted schema are one plain scan. Files of other schemas are a scan for each schema, brought to the wanted
one. Keys of folders come from Polars' own columns of such folders where these are right, which is where it leaves files
out by their keys; else from constants, or from the places of the files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import polars as pl

from gpuquery.runner import stores
from gpuquery.runner.inputs import exact, keys
from gpuquery.runner.inputs.base import File, Reading, Schema, schema_from_text, schema_to_text
from gpuquery.runner.inputs.formats.parquet import widen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

MAX_CONSTANTS = 64
"""Partitions that are read with constants, a scan for each; more are told apart by the places of their files."""
MAX_SCANS = 1000
"""Partitions that a GPU engine reads, a scan for each."""
_PLACE = "gpuquery place"
_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class Part:
    """Files of one schema."""

    schema: Schema
    """Columns that the files have, as Polars reads them; those that are not read are left out."""
    exact: Schema
    """The types that their values have."""
    dropped: bool = False
    """Whether the files have further columns, which are not read."""
    whole: bool = False
    """Whether row groups are decoded before they are filtered, because of times of day.

    Where Polars (1.44) filters pages while it decodes them, it takes the microseconds of files for nanoseconds, so that
    other rows pass, and it crashes of milliseconds.
    """


@dataclass(frozen=True)
class Parquet(Reading):
    """Files of one schema or several, brought to one."""

    kind: ClassVar[str] = "parquet"
    schema: Schema
    warnings: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    """Columns that files have and that are not read, each with the reason, said of the column."""
    parts: tuple[Part, ...] = ()
    """The schemas of the files; the first is that of most."""
    others: Mapping[str, int] = field(default_factory=dict)
    """Number of the part of each file that is not of the first, by its place."""
    keys: tuple[str, ...] = ()
    """Columns that come from the names of folders."""
    gpu: bool = False
    """Whether a GPU engine reads it, which knows neither columns of folders nor the places of rows."""

    @property
    def absent(self) -> Mapping[str, str]:
        """Columns that are not read, with the reason."""
        return self.unread

    def for_gpu(self) -> Self:
        """Have a scan with constants for each partition; beyond a number of them the preflight refuses the folders."""
        return replace(self, gpu=True)

    def frame(
        self, item: Input, files: Sequence[File], access: StoreAccess, *, places: str | None = None
    ) -> pl.LazyFrame:
        """Scan the files, part by part, in the order of the files within each."""
        sorted_: dict[int, list[File]] = {}
        for file in files:
            sorted_.setdefault(self.others.get(file.uri, 0), []).append(file)
        frames = []
        for number, some in sorted(sorted_.items()):
            frames += self._part(self.parts[number], some, access, places)
        return frames[0] if len(frames) == 1 else pl.concat(frames, how="vertical")

    def to_json(self) -> dict[str, Any]:
        """Write it down."""
        return {
            "schema": schema_to_text(self.schema),
            "unread": dict(self.unread),
            "parts": [[schema_to_text(p.schema), schema_to_text(p.exact), p.dropped, p.whole] for p in self.parts],
            "others": dict(self.others),
            "keys": list(self.keys),
            "gpu": self.gpu,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read it."""
        return cls(
            schema_from_text(value["schema"]),
            unread=value["unread"],
            parts=tuple(Part(schema_from_text(a), schema_from_text(b), c, d) for a, b, c, d in value["parts"]),
            others=value["others"],
            keys=tuple(value["keys"]),
            gpu=value["gpu"],
        )

    def _part(self, part: Part, files: Sequence[File], access: StoreAccess, places: str | None) -> list[pl.LazyFrame]:
        if not self.keys:
            return [self._brought(part, _scan(part, files, access, places), {}, places)]
        constants = self.gpu and len({self._texts(file) for file in files}) <= MAX_SCANS
        by_folder = [] if constants else [file for file in files if self._by_folder(file)]
        if len(by_folder) == 1:  # of one file Polars 1.38 to 1.44 lets all rows pass a condition that is null
            by_folder = []
        others = set(by_folder)
        rest: dict[tuple[str | None, ...], list[File]] = {}
        for file in files:
            if file not in others:
                rest.setdefault(self._texts(file), []).append(file)
        frames = []
        if by_folder:
            hive = {name: self.schema[name] for name, _ in by_folder[0].keys}
            frames.append(self._brought(part, _scan(part, by_folder, access, places, hive), None, places))
        if len(rest) > MAX_CONSTANTS and not constants:
            return [*frames, self._placed(part, [file for some in rest.values() for file in some], access, places)]
        for texts, some in rest.items():
            values = {
                name: exact.literal(keys.value(text, self.schema[name]), self.schema[name])
                for name, text in zip(self.keys, texts, strict=True)
            }
            frames.append(self._brought(part, _scan(part, some, access, places), values, places))
        return frames

    def _texts(self, file: File) -> tuple[str | None, ...]:
        by_name = dict(file.keys)
        return tuple(by_name[name] for name in self.keys)

    def _by_folder(self, file: File) -> bool:
        """Whether Polars' own columns of a file's folders are right.

        It takes a null key for every value that a filter asks for (Polars 1.32 to 1.44, pola-rs/polars #23005), decodes
        no names, takes every folder of the place for a key that is `name=value`, and none before a sign of a glob.
        """
        if len(file.keys) != len(self.keys) or _GLOB.intersection(file.uri):
            return False
        folders = [part for part in file.uri.split("/")[:-1] if part.count("=") == 1]
        if [folder.split("=")[0] for folder in folders] != [name for name, _ in file.keys]:
            return False
        return all(text and _plain(text, self.schema[name]) for name, text in file.keys)

    def _placed(self, part: Part, files: Sequence[File], access: StoreAccess, places: str | None) -> pl.LazyFrame:
        """Tell the keys of each row by the place of its file."""
        at = places or _PLACE
        column = pl.col(at)
        uris = [stores.of(file.uri).address(file.uri) for file in files]
        values = {}
        for name in self.keys:
            dtype = self.schema[name]
            found = [keys.value(dict(file.keys)[name], dtype) for file in files]
            values[name] = column.replace_strict(pl.Series(uris), exact.series("", found, dtype), return_dtype=dtype)
        return self._brought(part, _scan(part, files, access, at), values, places)

    def _brought(
        self, part: Part, frame: pl.LazyFrame, values: Mapping[str, pl.Expr] | None, places: str | None
    ) -> pl.LazyFrame:
        """Bring a scan to the wanted schema. `values` are those of the keys; None: the scan has them."""
        wanted = {name: dtype for name, dtype in self.schema.items() if name not in self.keys}
        if (
            part.schema == part.exact == wanted
            and list(part.schema) == list(wanted)
            and not part.dropped
            and not values
        ):
            return frame if not self.keys else frame.select([*self.schema, *([places] if places else [])])
        made = {name: _column(part, name, dtype) for name, dtype in wanted.items()}
        made |= values or {}
        new = [expr.alias(name) for name, expr in made.items() if expr is not None]
        return frame.with_columns(new).select([*self.schema, *([places] if places else [])])


def _column(part: Part, name: str, to: pl.DataType) -> pl.Expr | None:
    """Return a column of a part in its wanted type; None if it is there just so."""
    if name not in part.schema or isinstance(part.exact[name], pl.Null):
        return pl.lit(None, dtype=to) if name not in part.schema or part.schema[name] != to else None
    read, told = part.schema[name], part.exact[name]
    if read == told == to:
        return None
    column = pl.col(name) if read == told else pl.col(name).cast(told)
    return widen.brought(column, told, to)


def _plain(text: str, dtype: pl.DataType) -> bool:
    """Whether Polars makes just this value of a folder's text."""
    if isinstance(dtype, pl.String | pl.Date | pl.Boolean | pl.Decimal):
        return True
    if dtype.is_float():  # NaN and zeros of both signs are not ordered alike everywhere
        return math.isfinite(float(text)) and float(text) != 0
    return dtype.is_integer() and str(int(text)) == text


def _scan(
    part: Part, files: Sequence[File], access: StoreAccess, places: str | None, hive: Schema | None = None
) -> pl.LazyFrame:
    return pl.scan_parquet(
        [stores.of(file.uri).address(file.uri) for file in files],
        glob=False,
        # Without it Polars reads the footer of every file only to plan. It has to name every column of the files, and
        # Polars 1.31 takes the Enum of a file for another one than the same one here.
        schema=None if part.dropped or "Enum" in str(part.schema) else dict(part.schema),
        hive_partitioning=hive is not None,
        hive_schema=hive,
        include_file_paths=places,
        parallel="row_groups" if part.whole else "auto",
        **stores.scan_arguments(access, files[0].uri),
    )
