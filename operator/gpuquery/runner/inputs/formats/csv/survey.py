"""A look at CSV files before they are read: their columns, the types of those, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import CsvOptions
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.formats import columns, contents, texts
from gpuquery.runner.inputs.formats.contents import RefusedError
from gpuquery.runner.inputs.formats.csv import header
from gpuquery.runner.inputs.formats.csv.records import (
    Block,
    Dialect,
    Look,
    closely,
    is_hollow,
    note_quoted,
    records,
    split,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File

_TOGETHER = 256 << 10
"""Bytes below which blocks of several files are looked at together."""


@dataclass
class Survey:
    """What is known of the files; `looks` has None for files without a line."""

    looks: list[Look | None]
    whole: bool
    """Whether every line was looked at."""
    types: dict[str, pl.DataType] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)


def survey(
    item: Input,
    files: Sequence[File],
    access: StoreAccess,
    declared: Mapping[str, pl.DataType],
    budget: int | None,
) -> Survey:
    """Look at files, or a sample of them. Raises JobError that names the file, and the line where there is one."""
    work = _Work(item, files, declared)
    for piece in contents.pieces(item, files, access, budget, csv=True):
        work.take(piece)
    work.flush()
    found = Survey(work.looks, contents.whole(files, budget))
    at = next((at for at, look in enumerate(work.looks) if look is not None), None)
    if at is None:
        raise JobError(
            Failure.INVALID_INPUT,
            f'input "{item.name}" ({item.shown}): none of its files has a line, so its columns are not known',
        )
    try:
        names = [look.names if look else None for look in work.looks]
        found.columns, found.warnings = header.together(item, files, names)
    except RefusedError as exc:
        raise contents.refused(item, work.blamed(at), exc.text) from None
    columns.check_names(item, found.columns)
    found.types = {name: work.dtype(name) for name in found.columns}
    return found


class _Work:
    """One walk through the pieces."""

    def __init__(self, item: Input, files: Sequence[File], declared: Mapping[str, pl.DataType]) -> None:
        csv = item.csv or CsvOptions()
        self._item = item
        self._files = files
        self._header = csv.header
        self._dialect = Dialect(csv.separator, csv.null_values)
        self._declared = declared
        self._narrow: dict[str, columns.Narrowing] = {}
        self._waiting: list[Block] = []
        self._owners: list[int] = []
        self.looks: list[Look | None] = [None] * len(files)

    def take(self, piece: contents.Piece) -> None:
        """Look at a piece, soon or now."""
        try:
            block = self._block(piece)
        except RefusedError as exc:
            raise contents.refused(self._item, self._files[piece.file], exc.text) from None
        if block is None or not block.data:
            return
        block.look.rows = True
        held = sum(len(one.data) for one in self._waiting)
        if self._waiting and (held + len(block.data) > _TOGETHER or self._waiting[0].look.names != block.look.names):
            self.flush()
        self._waiting.append(block)
        self._owners.append(piece.file)

    def flush(self) -> None:
        """Look at the blocks that wait."""
        blocks, owners = self._waiting, self._owners
        self._waiting, self._owners = [], []
        if not blocks:
            return
        names = blocks[0].look.names
        for block in blocks:
            note_quoted(block, self._dialect)
        found = split(b"".join(one.data for one in blocks), names, self._dialect)
        if found is not None and not is_hollow(found) and self._fits(found):
            self._see(found)
            return
        for block, owner in zip(blocks, owners, strict=True):
            try:
                self._alone(block)
            except RefusedError as exc:
                # Lines from the middle of a file may begin within quotes: then they are no sample.
                if block.line is not None:
                    raise contents.refused(self._item, self._files[owner], exc.text) from None

    def dtype(self, name: str) -> pl.DataType:
        """Return the type of a column."""
        if name in self._declared:
            return self._declared[name]
        return self._narrow[name].dtype if name in self._narrow else pl.String()

    def blamed(self, first: int) -> File:
        """Return the file whose columns differ most visibly from those of the first one."""
        names = self.looks[first]
        for at, look in enumerate(self.looks):
            if look is not None and names is not None and set(look.names) != set(names.names):
                return self._files[at]
        return self._files[first]

    def _block(self, piece: contents.Piece) -> Block | None:
        """Return the records of a piece, which of a file's first piece are those behind the header."""
        look = self.looks[piece.file]
        if look is not None:
            return Block(look, piece.line, piece.data)
        if piece.line is None:  # the sample of the file's beginning has only lines without anything
            return None
        if self._header:
            opened = header.read(piece.data, self._dialect.separator)
            if opened is None:
                return None
            names, data, lines = opened
        else:
            numbered = header.numbered(piece.data, self._dialect.separator)
            if numbered is None:
                return None
            names, data, lines = numbered, piece.data, 0
        self.looks[piece.file] = look = Look(names)
        return Block(look, (piece.line or 1) + lines, data)

    def _alone(self, block: Block) -> None:
        found = split(block.data, block.look.names, self._dialect)
        if found is None:
            found = closely(block, self._dialect)
        if len(block.look.names) > 1 and is_hollow(found):
            block.look.hollow = block.line or 1
        if not self._fits(found):
            raise RefusedError(self._misfit(block, found))
        self._see(found)

    def _fits(self, found: pl.DataFrame) -> bool:
        return not any(columns.misfit(found[n], t) is not None for n, t in self._declared.items() if n in found.columns)

    def _misfit(self, block: Block, found: pl.DataFrame) -> str:
        for name, dtype in self._declared.items():
            if name in found.columns and (at := columns.misfit(found[name], dtype)) is not None:
                value = found[name][at][: texts.MAX_SHOWN]
                where = "a line in its middle"
                if block.line is not None:
                    held = [one for one in records(block.data, block.line, self._dialect.separator) if one.fields]
                    where = f"line {held[at].line}" if len(block.look.names) > 1 else f"line {block.line + at}"
                return columns.does_not_fit(where, name, value, dtype, declared=name in self._item.types)
        return "holds a value that does not fit its column"

    def _see(self, found: pl.DataFrame) -> None:
        for name in found.columns:
            if name not in self._declared:
                self._narrow.setdefault(name, columns.Narrowing()).see(found[name])
