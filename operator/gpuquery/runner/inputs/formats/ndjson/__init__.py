"""NDJSON files: all keys of all lines are columns, with types that were declared or that all values have.

Polars reads them with one schema for all files, which was found before: it passes over keys that a schema lacks, and
turns any value into text where one is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.words import said
from gpuquery.runner.inputs.base import File, Reading, Schema, schema_from_text, schema_to_text
from gpuquery.runner.inputs.formats import columns, contents, texts
from gpuquery.runner.inputs.formats.ndjson import types
from gpuquery.runner.inputs.formats.ndjson.survey import Survey, survey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

_MIB = 1 << 20
_SHOWN = 5
_READERS_WORDS = (
    "cannot parse", "error parsing line", "NDJSON line expected", "unexpected value while building Series",
    "conversion from `str`", "in json value", "in JSON value",
)  # fmt: skip


@dataclass(frozen=True)
class NdJson(Reading):
    """Files whose keys and types are known."""

    kind: ClassVar[str] = "ndjson"
    schema: Schema
    held: Schema
    """What Polars reads, from which the schema's values are made."""
    warnings: tuple[str, ...] = ()

    def frame(
        self, item: Input, files: Sequence[File], access: StoreAccess, *, places: str | None = None
    ) -> pl.LazyFrame:
        """Scan the files."""
        some = [stores.of(file.uri).address(file.uri) for file in files if file.bytes]
        frame = pl.scan_ndjson(
            some, schema=self.held, include_file_paths=places, storage_options=stores.scan_options(access, files[0].uri)
        )
        if self.held == self.schema:
            return frame
        return frame.select(*(self._value(item, name) for name in self.schema), *([places] if places else []))

    def located(self, item: Input, files: Sequence[File], access: StoreAccess, exc: BaseException) -> str | None:
        """Look at every line of the files, if the error may be of one of them."""
        text = said(exc)
        ours = f"⟪{item.name}¦" in text
        if not ours and ("⟪" in text or not any(words in text for words in _READERS_WORDS)):
            return None
        try:
            declared = columns.declared(item)
            root = survey(item, files, access, types.as_texts(declared), None).root
            for name, dtype in declared.items():
                if dtype.is_nested():
                    types.chosen(item, files, name, root, dtype)
        except JobError as found:
            if found.failure is not Failure.INVALID_INPUT:
                raise
            return found.message
        return types.unseen(item, files, root, self.held)

    def to_json(self) -> dict[str, Any]:
        """Write it down."""
        return {"schema": schema_to_text(self.schema), "held": schema_to_text(self.held)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read it."""
        return cls(schema_from_text(value["schema"]), schema_from_text(value["held"]))

    def _value(self, item: Input, name: str) -> pl.Expr:
        held, dtype = self.held[name], self.schema[name]
        if held != pl.String or dtype == pl.String:
            return pl.col(name).cast(dtype)
        return texts.values(pl.col(name), dtype, texts.mark(item.name, name), declared=True).alias(name)


def resolve(item: Input, files: Sequence[File], access: StoreAccess) -> NdJson:
    """Look at the files. Raises JobError."""
    declared = columns.declared(item)
    types.check(item, declared)
    whole = contents.whole(files, contents.BUDGET)
    if not whole and not declared:
        size = sum(file.bytes for file in files) // _MIB
        raise JobError(
            Failure.INVALID_INPUT,
            f'input "{item.name}" ({item.shown}): its files have {size} MiB. All lines of NDJSON are looked at for '
            f"their keys, but of no more than {contents.BUDGET // _MIB} MiB: declare its columns in inputs[].types, or "
            "write it as parquet",
        )
    found = survey(item, files, access, types.as_texts(declared), contents.BUDGET)
    names = list(found.root.fields) if whole else list(declared)
    if not names:
        raise JobError(
            Failure.INVALID_INPUT, f'input "{item.name}" ({item.shown}): none of its files has a line with a key'
        )
    if whole:
        columns.check_names(item, names)
    chosen = {name: types.chosen(item, files, name, found.root, declared.get(name)) for name in names}
    warnings = [*_widened(item, files, found, declared), *([] if whole else _unread(item, found, declared))]
    return NdJson(
        {name: one.dtype for name, one in chosen.items()},
        {name: one.held for name, one in chosen.items()},
        tuple(warnings),
    )


def _widened(item: Input, files: Sequence[File], found: Survey, declared: Mapping[str, pl.DataType]) -> list[str]:
    told = []
    for name, node in found.root.fields.items():
        if name not in declared:
            told += [
                f'input "{item.name}": "{path}" has whole numbers ({types.at(files, one)}) and fractions '
                f"({types.at(files, two)}): all are read as DOUBLE"
                for path, one, two in node.widened(name)
            ]
    return told[:_SHOWN]


def _unread(item: Input, found: Survey, declared: Mapping[str, pl.DataType]) -> list[str]:
    others = [name for name in found.root.fields if name not in declared]
    seen = f": {columns.shown(others[:_SHOWN])} among others" if others else ""
    return [
        f'input "{item.name}": its files were looked at by a sample, and only the columns that types declares are read'
        f"{seen}. A value elsewhere that does not fit its column ends the query; a number in a column of text, Decimal "
        "or Int128 is read as Polars prints it, which is not exact for fractions of more than 15 digits"
    ]
