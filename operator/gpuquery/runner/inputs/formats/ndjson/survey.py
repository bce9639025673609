"""A look at NDJSON files before they are read: all keys of all lines, and the types that all values have."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.inputs.formats import columns, contents, texts
from gpuquery.runner.inputs.formats.contents import RefusedError
from gpuquery.runner.inputs.formats.ndjson import lines
from gpuquery.runner.inputs.formats.ndjson.nodes import Kind, Node, Seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File

_MOST_SHAPES = 100_000
_DEEPEST = 50
_NESTED = (tuple, list)


@dataclass
class Survey:
    """What is known of the files."""

    root: Node
    whole: bool
    """Whether every line was looked at."""


def survey(
    item: Input,
    files: Sequence[File],
    access: StoreAccess,
    checked: Mapping[str, pl.DataType],
    budget: int | None,
) -> Survey:
    """Look at files, or a sample of them. Raises JobError that names the file, and the line where there is one.

    `checked` are columns whose values are read as texts, with the types that those have to be.
    """
    work = _Work(checked)
    for piece in contents.pieces(item, files, access, budget):
        try:
            work.take(piece)
        except RefusedError as exc:
            if piece.line is None:  # the number of the line is only known from the file's beginning
                survey(item, [files[piece.file]], access, checked, None)
            raise contents.refused(item, files[piece.file], exc.text) from None
    return Survey(work.root, contents.whole(files, budget))


class _Work:
    """One walk through the lines. Lines of a shape that was seen before add nothing."""

    def __init__(self, checked: Mapping[str, pl.DataType]) -> None:
        self.root = Node()
        self._checked = checked
        self._native = {name: lines.native(wanted) for name, wanted in checked.items()}
        self._shapes: set[Any] = set()

    def take(self, piece: contents.Piece) -> None:
        """Look at all lines of a piece. Raises RefusedError."""
        rows = lines.split(piece.data, piece.line)
        care = lines.needs_care(piece.data)
        waiting: dict[str, list[tuple[int, Any]]] = {name: [] for name in self._checked}
        for at, text in enumerate(rows):
            try:
                found = lines.pairs(text, care=care)
                if found is None:
                    continue
                self._see(found, Seen(piece.file, None if piece.line is None else piece.line + at))
            except RefusedError as exc:
                raise RefusedError(f"{_line(piece, at)} {exc.text}") from None
            except RecursionError:
                raise RefusedError(f"{_line(piece, at)} has values that are nested too deep") from None
            if waiting:
                for name, value in found:
                    if name in waiting and value is not None and type(value) not in self._native[name]:
                        waiting[name].append((at, value))
        for name, values in waiting.items():
            self._check(piece, name, values)

    def _see(self, found: tuple[tuple[str, Any], ...], seen: Seen) -> None:
        shape = shape_of(found)
        if shape not in self._shapes:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes.add(shape)
            add_fields(self.root, found, seen, 0)

    def _check(self, piece: contents.Piece, name: str, values: list[tuple[int, Any]]) -> None:
        """Raise RefusedError for the first value of a declared column that its type does not hold."""
        wanted = self._checked[name]
        column = pl.Series(name, [_text(value) for _, value in values], pl.String)
        bad = columns.misfit(column, wanted)
        if bad is not None:
            at, value = values[bad]
            shown = str(value)[: texts.MAX_SHOWN]
            raise RefusedError(columns.does_not_fit(_line(piece, at), name, shown, wanted, declared=True))


def _line(piece: contents.Piece, at: int) -> str:
    return "a line in its middle" if piece.line is None else f"line {piece.line + at}"


def shape_of(value: Any) -> Any:
    """Return what is the same for two values with the same keys and kinds. Written for speed: each value comes here."""
    if type(value) is list:
        return frozenset([type(one) if type(one) not in _NESTED else shape_of(one) for one in value])
    return tuple([(key, type(one) if type(one) not in _NESTED else shape_of(one)) for key, one in value])


def _text(value: Any) -> str:
    """Return the text that Polars reads for a value; for what it does not read exactly, one that is no value."""
    match value:
        case bool():
            return "true" if value else "false"
        case lines.Long() | lines.Huge() | list() | tuple():
            return f"{value}: not read"
        case float():
            return format(Decimal(repr(value)), "f")
        case _:
            return str(value)


def _add(node: Node, value: Any, seen: Seen, depth: int) -> None:
    if value is None:
        return
    if depth > _DEEPEST:
        raise RefusedError(f"has values that are nested more than {_DEEPEST} deep")
    kind = lines.KINDS[type(value)]
    node.kinds.setdefault(kind, seen)
    if kind is Kind.OBJECT:
        add_fields(node, value, seen, depth + 1)
    elif kind is Kind.LIST:
        node.item = node.item or Node()
        for one in value:
            _add(node.item, one, seen, depth + 1)


def add_fields(node: Node, pairs: tuple[tuple[str, Any], ...], seen: Seen, depth: int) -> None:
    """Add the values of an object. Raises RefusedError for a key that stands twice, and for too many levels."""
    if len({key for key, _ in pairs}) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RefusedError(f'has the key "{twice}" twice in one object, and readers take either: write it once')
    for key, value in pairs:
        _add(node.fields.setdefault(key, Node()), value, seen, depth)
