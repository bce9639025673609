"""What the values of each column of NDJSON may be, and the pattern that lines with such values match.

A line that matches the pattern of a good line has the same keys in the same order, and at each place a value of a kind
that the column's type holds, or null. So what Python's json has found of the one line is true of the other.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from gpuquery.runner.inputs.formats import texts
from gpuquery.runner.inputs.formats.ndjson import nodes
from gpuquery.runner.inputs.formats.ndjson.nodes import Kind, Node, Seen
from gpuquery.runner.inputs.formats.ndjson.types import NATIVE, PRINTED

if TYPE_CHECKING:
    from collections.abc import Mapping

_BLANK = "[ \t\r]*"
_TEXT = (
    r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}'
    r'|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))*"'
)
"""A text without halves of characters."""
_NUMBERS = (
    (Kind.LONG, r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?"),
    (Kind.FRACTION, r"(?:0|-?[1-9][0-9]{0,14}|-?(?:0|[1-9][0-9]{0,6})\.[0-9]{1,8})"),
    (Kind.WIDE, "(?:0|-?[1-9][0-9]{0,17})"),
)
"""Numbers that surely are of a kind, or of one that is held wherever that is: the first that is held counts. Others are
looked at one by one, but for whole numbers beyond 128 bits, which no reader takes for JSON."""


class Rule(NamedTuple):
    """What the values of a place may be."""

    dtype: pl.DataType
    kinds: frozenset[Kind]
    exact: bool
    """Whether a number must be exactly a DOUBLE: the type was not declared."""

    def misfit(self, node: Node, path: str) -> tuple[str, Kind | None, Seen] | None:
        """Return a place, kind and line that does not fit; the kind is None for a key that the type does not have."""
        if self.dtype.is_nested():
            return nodes.misfit(node, self.dtype, path, exact=self.exact)
        return next(((path, kind, seen) for kind, seen in node.kinds.items() if kind not in self.kinds), None)

    def within(self, dtype: Any) -> Rule:
        """Return the rule of a type within this one."""
        return Rule(dtype, nodes.held(dtype, exact=self.exact), self.exact)


def rules(
    schema: Mapping[str, pl.DataType], held: Mapping[str, pl.DataType], declared: frozenset[str]
) -> dict[str, Rule]:
    """Return the rule of each column: its type, what Polars reads for it, and whether the author has declared it."""
    return {
        name: Rule(dtype, _kinds(dtype, held[name], declared=name in declared), name not in declared)
        for name, dtype in schema.items()
    }


def of_line(found: tuple[tuple[str, Any], ...], known: Mapping[str, Rule]) -> str:
    """Return the pattern of a good line, given its keys and values."""
    return f"{_BLANK}{_object(found, known)}{_BLANK}"


def _kinds(dtype: pl.DataType, read: pl.DataType, *, declared: bool) -> frozenset[Kind]:
    if not declared:
        return nodes.held(dtype, exact=True)
    if read in NATIVE:
        return NATIVE[read]
    return PRINTED if dtype == pl.String else PRINTED | {Kind.FRACTION}


def _object(found: tuple[tuple[str, Any], ...], known: Mapping[str, Rule]) -> str:
    pairs = [
        f"{texts.literal(json.dumps(name, ensure_ascii=False))}{_BLANK}:{_BLANK}{_value(value, known[name])}"
        for name, value in found
    ]
    inner = f"{_BLANK},{_BLANK}".join(pairs)
    return rf"\{{{_BLANK}{inner}{_BLANK}\}}"


def _value(value: Any, rule: Rule) -> str:
    match rule.dtype:
        case pl.List():
            return "null" if value is None else _list(value, rule.within(rule.dtype.inner))
        case pl.Struct():
            inner = {one.name: rule.within(one.dtype) for one in rule.dtype.fields}
            return "null" if value is None else _object(value, inner)
        case _:
            return _scalar(rule)


def _list(value: list[Any], rule: Rule) -> str:
    """Any number of elements such as those that were seen."""
    one = "|".join(dict.fromkeys(_value(element, rule) for element in value)) or "null"
    return rf"\[{_BLANK}(?:(?:{one})(?:{_BLANK},{_BLANK}(?:{one}))*{_BLANK})?\]"


def _scalar(rule: Rule) -> str:
    parts = ["null"]
    if Kind.TEXT in rule.kinds:
        parts.append(_TEXT)
    if Kind.BOOLEAN in rule.kinds:
        parts += ["true", "false"]
    parts += [pattern for kind, pattern in _NUMBERS if kind in rule.kinds][:1]
    return f"(?:{'|'.join(parts)})"
