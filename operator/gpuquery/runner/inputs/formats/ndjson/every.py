"""Every line of a large NDJSON file: whether its keys and values are those that a sample has shown, or were declared.

Python's json looks at few lines: a line that is good gives a pattern (`rules.of_line`), and other lines that match it
are as good. Polars matches them, some hundred megabytes a second of one core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from gpuquery.runner.inputs.formats import contents, streams
from gpuquery.runner.inputs.formats.contents import RefusedError
from gpuquery.runner.inputs.formats.ndjson import lines
from gpuquery.runner.inputs.formats.ndjson.nodes import Node, Seen
from gpuquery.runner.inputs.formats.ndjson.rules import Rule, of_line
from gpuquery.runner.inputs.formats.ndjson.survey import add_fields, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File

MOST_PATTERNS = 200
"""Kinds of lines that are known by a pattern; others are looked at one by one."""
TOGETHER = 20_000
"""Characters of patterns that are matched together: the automaton of too many is slow, or too large."""
_MOST_SHAPES = 100_000
_BLANK = "[ \t\r]*"


def verify(item: Input, file: File, access: StoreAccess, rules: Mapping[str, Rule]) -> None:
    """Look at all lines of a file. Raises JobError that names the line."""
    known = Lines(rules, frozenset(item.types))
    for piece in streams.pieces(item, file, access, csv=False):
        try:
            known.look(piece.data, piece.line or 1)
        except RefusedError as exc:
            raise contents.refused(item, file, exc.text) from None


class Lines:
    """What good lines look like, as far as they have been seen."""

    def __init__(self, rules: Mapping[str, Rule], declared: frozenset[str]) -> None:
        """`rules` are those of all columns, `declared` the columns whose type the author has declared."""
        self._rules, self._declared = rules, declared
        self._patterns = [_BLANK]
        self._shapes: set[object] = set()
        self.closely = 0
        """Lines that Python has looked at."""

    def look(self, data: bytes, line: int) -> None:
        """Look at whole lines, the first of which is `line`. Raises RefusedError."""
        texts = lines.split(data.removesuffix(b"\n"), line)
        left = pl.DataFrame({"line": range(line, line + len(texts)), "text": texts})
        for pattern in _joined(self._patterns):
            left = _unlike(left, pattern)
        while left.height and (learned := self._closely(left)):
            at, pattern = learned
            left = _unlike(left.slice(at), pattern)

    def _closely(self, left: pl.DataFrame) -> tuple[int, str] | None:
        """Look at lines until one gives a new pattern; returns how many were looked at, and it."""
        for at, (number, text) in enumerate(left.iter_rows(), start=1):
            self.closely += 1
            try:
                pattern = self._learned(text)
            except RefusedError as exc:
                raise RefusedError(f"line {number} {exc.text}") from None
            if pattern is not None:
                return at, pattern
        return None

    def _learned(self, text: str) -> str | None:
        """Look at a line; returns its pattern if that is a new one that it matches."""
        found = lines.pairs(text, care=True)
        shape = None if found is None else shape_of(found)
        if found is None or shape in self._shapes:
            return None
        node = Node()
        add_fields(node, found, Seen(0, None), 0)
        for name, child in node.fields.items():
            self._check(name, child)
        if len(self._shapes) >= _MOST_SHAPES:
            self._shapes.clear()
        self._shapes.add(shape)
        pattern = of_line(found, self._rules)
        if len(self._patterns) >= MOST_PATTERNS or pattern in self._patterns or not _matches(text, pattern):
            return None
        self._patterns.append(pattern)
        return pattern

    def _check(self, name: str, node: Node) -> None:
        rule = self._rules.get(name)
        if rule is None:
            raise RefusedError(
                f'has the key "{name}", which the sample did not show: declare its type in inputs[].types, and it is a '
                "column"
            )
        if (bad := rule.misfit(node, name)) is None:
            return
        path, kind, _ = bad
        said = f'"{name}" is declared as' if name in self._declared else f'the sample shows "{name}" as'
        way = f'declare a type of "{name}" in inputs[].types that holds it'
        if kind is None:
            raise RefusedError(f'has the key "{path}", and {said} {rule.dtype}: {way}')
        raise RefusedError(f'has {kind} for "{path}", and {said} {rule.dtype}: write one kind of value, or {way}')


def _joined(patterns: Sequence[str]) -> list[str]:
    """Return patterns, several in one."""
    joined: list[str] = []
    for one in patterns:
        if joined and len(joined[-1]) + len(one) < TOGETHER:
            joined[-1] += f"|{one}"
        else:
            joined.append(one)
    return joined


def _unlike(left: pl.DataFrame, pattern: str) -> pl.DataFrame:
    """Return the lines that do not match."""
    try:
        return left.filter(~pl.col("text").str.contains(rf"\A(?:{pattern})\z"))
    except pl.exceptions.ComputeError:  # too large: then each line is looked at
        return left


def _matches(text: str, pattern: str) -> bool:
    return not _unlike(pl.DataFrame({"text": [text]}), pattern).height
