"""NDJSON files: all keys of all lines are columns, with types that were declared or that all values have.

Polars reads them with one schema for all files, which was found before: it passes over keys that a schema lacks, and
turns any value into text where one is wanted. So each line is looked at: before the query, or, of a large input,
beside it (`every`).
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
from gpuquery.runner.inputs.formats.ndjson import every, rules, types
from gpuquery.runner.inputs.formats.ndjson.survey import Survey, survey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

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
    whole: bool
    """Whether every line was looked at."""
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

    @property
    def sampled(self) -> bool:
        """Whether not every line was looked at."""
        return not self.whole

    def verify(self, item: Input, files: Sequence[File], access: StoreAccess, at: int) -> None:
        """Look at each line of a file: whether it has other keys, or values that would become others."""
        every.verify(item, files[at], access, rules.rules(self.schema, self.held, frozenset(item.types)))

    def to_json(self) -> dict[str, Any]:
        """Write it down."""
        return {"schema": schema_to_text(self.schema), "held": schema_to_text(self.held), "whole": self.whole}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read it."""
        return cls(schema_from_text(value["schema"]), schema_from_text(value["held"]), value["whole"])

    def _value(self, item: Input, name: str) -> pl.Expr:
        held, dtype = self.held[name], self.schema[name]
        if held != pl.String or dtype == pl.String:
            return pl.col(name).cast(dtype)
        return texts.values(pl.col(name), dtype, texts.mark(item.name, name), declared=True).alias(name)


def resolve(item: Input, files: Sequence[File], access: StoreAccess) -> NdJson:
    """Look at the files. Raises JobError."""
    declared = columns.declared(item)
    types.check(item, declared)
    found = survey(item, files, access, types.as_texts(declared), contents.BUDGET)
    names = list(found.root.fields) if found.whole else list(dict.fromkeys([*found.root.fields, *declared]))
    if not names:
        raise JobError(
            Failure.INVALID_INPUT, f'input "{item.name}" ({item.shown}): none of its files has a line with a key'
        )
    if found.whole:
        columns.check_names(item, names)
    else:
        _check_hollow(item, files, found, declared)
    chosen = {name: types.chosen(item, files, name, found.root, declared.get(name)) for name in names}
    return NdJson(
        {name: one.dtype for name, one in chosen.items()},
        {name: one.held for name, one in chosen.items()},
        found.whole,
        tuple(_widened(item, files, found, declared)),
    )


def _check_hollow(item: Input, files: Sequence[File], found: Survey, declared: Mapping[str, pl.DataType]) -> None:
    """Refuse objects that have no key in the sample: their texts are read, which those of others would not be."""
    for name, node in found.root.fields.items():
        if name in declared and declared[name].is_nested():
            continue
        for path, seen in node.hollow(name):
            text = (
                f'"{path}" is an object without a key in {types.at(files, seen)}, and wherever the sample shows it: '
                f'declare the type of "{name}" with a key in inputs[].types'
            )
            raise contents.refused(item, files[seen.file], text)


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
