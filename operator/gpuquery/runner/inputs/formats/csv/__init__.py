"""CSV files: types that were declared, or that all values have.

Where every line was looked at before, and Polars' own reader gives exactly the values of a type, it reads them. Columns
of other types are read as texts, which expressions turn into values and which fail where one would change. Of a large
input a sample is looked at before the query, and beside it each line, for its fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import CsvOptions
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.words import said
from gpuquery.runner.inputs.base import File, Reading, Schema, schema_from_text, schema_to_text
from gpuquery.runner.inputs.formats import columns, contents, texts
from gpuquery.runner.inputs.formats.csv import structure
from gpuquery.runner.inputs.formats.csv.records import Dialect
from gpuquery.runner.inputs.formats.csv.survey import Survey, survey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

_READERS_WORDS = (
    "could not parse", "conversion from `str`", "more fields than defined", "invalid utf-8", "CSV malformed",
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Files that one scan reads: they have the same header."""

    names: tuple[str, ...]
    files: tuple[int, ...]
    """Indexes of the files."""
    blanks: bool = False
    """Whether lines without anything are in them."""
    quotes: bool = True
    """Whether a quote at the beginning of a field means something."""


@dataclass(frozen=True)
class Csv(Reading):
    """Files with headers that were read."""

    kind: ClassVar[str] = "csv"
    schema: Schema
    groups: tuple[Group, ...]
    whole: bool
    """Whether every line was looked at."""
    warnings: tuple[str, ...] = ()

    def frame(
        self, item: Input, files: Sequence[File], access: StoreAccess, *, places: str | None = None
    ) -> pl.LazyFrame:
        """Scan the files."""
        frames = [self._scan(group, item, files, access, places) for group in self.groups]
        if not frames:
            return pl.LazyFrame(schema=self.schema | ({places: pl.String()} if places else {}))
        return frames[0] if len(frames) == 1 else pl.concat(frames)

    def located(self, item: Input, files: Sequence[File], access: StoreAccess, exc: BaseException) -> str | None:
        """Look at every line of the files, if the error may be of one of them."""
        text = said(exc)
        ours = f"⟪{item.name}¦" in text
        if not ours and ("⟪" in text or not any(words in text for words in _READERS_WORDS)):
            return None
        declared = self.schema if not self.whole else columns.declared(item)
        try:
            looks = survey(item, files, access, declared, None).looks
        except JobError as found:
            if found.failure is not Failure.INVALID_INPUT:
                raise
            return found.message
        for file, look in zip(files, looks, strict=True):
            if not self.whole and look is not None and look.stray:
                return contents.refused(item, file, structure.stray(look.stray)).message
        return None

    @property
    def sampled(self) -> bool:
        """Whether not every line was looked at."""
        return not self.whole

    def verify(self, item: Input, files: Sequence[File], access: StoreAccess, at: int) -> None:
        """Look at each line of a file: whether it has its fields."""
        csv = item.csv or CsvOptions()
        dialect = Dialect(csv.separator, csv.null_values)
        form = next(
            (structure.Form(len(g.names), dialect, g.blanks, g.quotes) for g in self.groups if at in g.files), None
        )
        structure.verify(item, files[at], access, form)

    def to_json(self) -> dict[str, Any]:
        """Write it down."""
        return {
            "schema": schema_to_text(self.schema),
            "groups": [[list(g.names), list(g.files), g.blanks, g.quotes] for g in self.groups],
            "whole": self.whole,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read it."""
        groups = tuple(Group(tuple(names), tuple(at), *rest) for names, at, *rest in value["groups"])
        return cls(schema_from_text(value["schema"]), groups, value["whole"])

    def _scan(
        self, group: Group, item: Input, files: Sequence[File], access: StoreAccess, places: str | None
    ) -> pl.LazyFrame:
        csv = item.csv or CsvOptions()
        paths = [stores.of(files[at].uri).address(files[at].uri) for at in group.files]
        plain = self.whole and not group.blanks
        held = {
            n: t if plain and self._plainly(item, n, t) else pl.String() for n in group.names for t in (self.schema[n],)
        }
        frame = pl.scan_csv(
            paths,
            glob=False,
            has_header=csv.header,
            separator=csv.separator,
            quote_char='"' if group.quotes else None,
            null_values=list(csv.null_values) or None,
            schema=held,
            infer_schema=False,
            include_file_paths=places,
            storage_options=stores.scan_options(access, files[0].uri),
        )
        if group.blanks:
            frame = frame.filter(~pl.all_horizontal(pl.col(name).is_null() for name in group.names))
        if held == self.schema and list(held) == list(self.schema):
            return frame
        return frame.select(*(self._value(item, name, held) for name in self.schema), *([places] if places else []))

    def _plainly(self, item: Input, name: str, dtype: pl.DataType) -> bool:
        return texts.plainly_read(dtype, declared=name in item.types)

    def _value(self, item: Input, name: str, held: Mapping[str, pl.DataType]) -> pl.Expr:
        dtype = self.schema[name]
        if name not in held:
            return pl.lit(None, dtype=dtype).alias(name)
        if held[name] == dtype:
            return pl.col(name)
        given = name in item.types
        return texts.values(pl.col(name), dtype, texts.mark(item.name, name), declared=given).alias(name)


def resolve(item: Input, files: Sequence[File], access: StoreAccess) -> Csv:
    """Look at the files. Raises JobError."""
    _check_options(item)
    declared = columns.declared(item)
    columns.check_texts(item, declared)
    found = survey(item, files, access, declared, contents.BUDGET)
    warnings = [*found.warnings, *_told(item, files, found)]
    return Csv(dict(found.types), _groups(item, files, found), found.whole, tuple(warnings))


def _check_options(item: Input) -> None:
    separator = (item.csv or CsvOptions()).separator
    if len(separator.encode()) != 1 or separator in '"\r\n\0':
        raise JobError(
            Failure.INVALID_INPUT,
            f'input "{item.name}": csv.separator is {separator!r}, which can separate no fields: write one ASCII '
            "character, such as a comma, a semicolon or a tab",
        )
    if quoted := [text for text in (item.csv or CsvOptions()).null_values if '"' in text]:
        raise JobError(
            Failure.INVALID_INPUT,
            f'input "{item.name}": csv.nullValues has {quoted[0]!r}, and no text with a quote is known as null: write '
            "it without quotes (a null is one whether it is quoted or not), or NULLIF in the query",
        )


def _groups(item: Input, files: Sequence[File], found: Survey) -> tuple[Group, ...]:
    """Put files together that one scan reads. Raises JobError for what no scan reads right."""
    made: dict[tuple[tuple[str, ...], bool, bool], list[int]] = {}
    blanks = not found.whole and any(look is not None and look.blank for look in found.looks)
    for at, look in enumerate(found.looks):
        # A block that ends behind the header does not tell that a file has no rows: its first one may be longer.
        if look is None or (found.whole and not look.rows):
            continue
        if look.blank and look.hollow:
            raise contents.refused(
                item, files[at],
                f"has a line without anything (line {look.blank}) and a record whose fields are all empty (near line "
                f"{look.hollow}), which the reader cannot tell apart: remove one kind",
            )  # fmt: skip
        if look.stray and look.quoted:
            raise contents.refused(
                item, files[at],
                f"line {look.stray} has a quote within a field that does not begin with one, and other fields are "
                f"quoted (line {look.quoted}): write such a field within quotes, and each quote in it twice",
            )  # fmt: skip
        several = len(look.names) > 1
        made.setdefault((look.names, several and bool(look.blank or blanks), not look.stray), []).append(at)
    return tuple(Group(names, tuple(at), blank, quotes) for (names, blank, quotes), at in made.items())


def _told(item: Input, files: Sequence[File], found: Survey) -> list[str]:
    """Return warnings about files without a line."""
    empty = sum(look is None for look in found.looks)
    return [f'input "{item.name}": {empty} of its {len(files)} files have no line'] if empty else []
