"""Types of NDJSON's columns: which one each has, and as which Polars reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.formats import contents, texts
from gpuquery.runner.inputs.formats.contents import RefusedError
from gpuquery.runner.inputs.formats.ndjson import nodes
from gpuquery.runner.inputs.formats.ndjson.nodes import ClashError, Kind, Node, Seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.runner.inputs.base import File

PRINTED = frozenset({Kind.TEXT, Kind.BOOLEAN, *nodes.WHOLE})
"""Kinds whose texts stay what they were."""
NATIVE: Mapping[pl.DataType, frozenset[Kind]] = {
    pl.Boolean(): frozenset({Kind.BOOLEAN}),
    pl.Int64(): frozenset({Kind.WHOLE, Kind.WIDE}),
    pl.UInt64(): nodes.WHOLE,
    pl.Float64(): nodes.NUMBERS,
}
"""Kinds that Polars reads as a type, without a text between."""


class Chosen(NamedTuple):
    """The type of a column, and the one that Polars reads."""

    dtype: pl.DataType
    held: pl.DataType


def check(item: Input, declared: Mapping[str, pl.DataType]) -> None:
    """Raise JobError for declared types that are not read from JSON."""
    for name, dtype in declared.items():
        if not (texts.known(dtype) or (dtype.is_nested() and nodes.within(dtype))):
            raise JobError(
                Failure.INVALID_INPUT,
                f'input "{item.name}": types: "{name}": {item.types[name]!r} is not read from JSON: write a number, '
                "Boolean, String, Date, Datetime or Time, or a List or Struct of Int64, UInt64, Float64, Boolean and "
                "String",
            )


def as_texts(declared: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Return the columns whose values are checked one by one."""
    return {name: dtype for name, dtype in declared.items() if not dtype.is_nested() and dtype != pl.String}


def chosen(item: Input, files: Sequence[File], name: str, root: Node, declared: pl.DataType | None) -> Chosen:
    """Return the type of a column. Raises JobError that names the values which have none."""
    node = root.fields.get(name, Node())
    try:
        if declared is None:
            found = nodes.dtype(node, name)
            return Chosen(found, found)
        return _declared(files, name, node, declared)
    except ClashError as exc:
        kind, seen = exc.one
        text = f'"{exc.path}" is {kind} in {at(files, seen)}'
        if exc.two is not None:
            text += f" and {exc.two[0]} in {at(files, exc.two[1])}"
        way = f'{exc.way}, or String for "{name}" in inputs[].types' if PRINTED.issuperset(node.kinds) else exc.way
        raise contents.refused(item, files[seen.file], f"{text}: {way}") from None
    except RefusedError as exc:
        raise JobError(Failure.INVALID_INPUT, f'input "{item.name}": {exc.text}') from None


def unseen(item: Input, files: Sequence[File], root: Node, held: Mapping[str, pl.DataType]) -> str | None:
    """Say which value is not read as the type that Polars was given for its column: the sample did not show it."""
    for name, dtype in held.items():
        node = root.fields.get(name, Node())
        for kind, seen in node.kinds.items():
            if dtype in NATIVE and kind not in NATIVE[dtype]:
                return (
                    f'input "{item.name}": "{name}" is {kind} in {at(files, seen)}, which the sample did not show, and '
                    f'it is read as {dtype}: write one kind of value, or String for "{name}" in inputs[].types'
                )
    return None


def at(files: Sequence[File], seen: Seen) -> str:
    """Name a line."""
    line = f"line {seen.line}" if seen.line is not None else "a line in the middle"
    return f"{line} of {files[seen.file].uri}"


def _declared(files: Sequence[File], name: str, node: Node, wanted: pl.DataType) -> Chosen:
    if wanted.is_nested():
        if found := nodes.misfit(node, wanted, name):
            path, kind, seen = found
            what = f"is {kind}" if kind else "is a key that its declared type does not have"
            raise RefusedError(f'"{path}" in {at(files, seen)} {what}, and "{name}" is declared as {wanted}')
        return Chosen(wanted, wanted)
    kinds = frozenset(node.kinds)
    if wanted == pl.String:
        empty = kinds == {Kind.OBJECT} and not node.fields
        if (odd := [kind for kind in node.kinds if kind not in PRINTED]) and not empty:
            raise RefusedError(
                f'"{name}" is {odd[0]} in {at(files, node.kinds[odd[0]])}, which would not stay what it is as text: '
                f"{_way(odd[0])}"
            )
        return Chosen(wanted, wanted)
    native = pl.Float64() if wanted == pl.Float32 else wanted
    return Chosen(wanted, native if native in NATIVE and kinds <= NATIVE[native] else pl.String())


def _way(kind: Kind) -> str:
    if kind in (Kind.LIST, Kind.OBJECT):
        return "declare a List or Struct, or write it as text in the files"
    return "declare Float64 or a Decimal, or write it as text in the files"
