"""What the optimized plan reads and does: its scans with their files, columns and filters, and its other nodes.

Polars shows its optimized plan to engines through a private view (`LazyFrame._ldf.visit()`), the same that cudf-polars
translates from. It is looked at defensively: whatever cannot be seen there is taken from the text of `explain()`, and
the estimate says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

Schema = Mapping[str, pl.DataType]
_COMPARISONS = {"Eq": "==", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_MIRRORED = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SOURCES = re.compile(
    r"(\w+) SCAN \[(.*?)(?:, \.\.\. (\d+) other sources?)?\](?: \[id: \d+\])?\n\s*PROJECT (\*|\d+)/(\d+)"
)


@dataclass(frozen=True)
class Test:
    """A comparison of a column with a constant that every row of the result passes."""

    column: str
    comparison: str
    """One of == < <= > >=."""
    value: Any
    dtype: pl.DataType
    """Type of the constant."""


@dataclass(frozen=True)
class Scan:
    """Files that are read, and what of them."""

    format: str
    """parquet, csv or ndjson; other words are formats that sizing does not know."""
    paths: Sequence[str]
    columns: Schema
    """Columns that are read, those that only a filter needs included."""
    tests: Sequence[Test] = ()
    """Parts of the filter by which row groups can be left out."""
    rows: int | None = None
    """At most so many rows are read, from the beginning or the end."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """How the format is read, in Polars' own words."""
    invented: frozenset[str] = frozenset()
    """Columns that stand in no file: row numbers and file names."""


@dataclass(frozen=True)
class Node:
    """One step of the plan."""

    kind: str
    """Polars' own name: Scan, Select, Join, GroupBy, Sort, ..."""
    columns: Schema
    inputs: Sequence[int]
    """Numbers of the nodes that feed it; inputs come before those whom they feed."""
    detail: Any = None
    """A Join's kind, a Slice's length, the Scan, or the bytes and rows of a table in memory."""


@dataclass(frozen=True)
class View:
    """The plan as a list in which every node comes after its inputs; the last is the result."""

    nodes: Sequence[Node]
    coarse: str = ""
    """Why it could not be seen in full; empty if it could."""
    shares: Mapping[int, float] = field(default_factory=dict)
    """Share of the files' columns that a scan reads, where they have no names (by number of the node)."""
    unseen: Mapping[int, int] = field(default_factory=dict)
    """Files of a scan beyond those that are named (by number of the node)."""

    @property
    def scans(self) -> list[Scan]:
        """All scans."""
        return [node.detail for node in self.nodes if isinstance(node.detail, Scan)]


def view(frame: pl.LazyFrame) -> View:
    """Look at the optimized plan. Errors of the query itself (a missing column) go through as Polars raises them."""
    frame.collect_schema()
    try:
        return _Visit(frame).view()
    except BaseException as exc:  # a panic of Polars is no Exception
        if isinstance(exc, (KeyboardInterrupt, SystemExit)):
            raise
        return _explained(frame, f"{type(exc).__name__}: {exc}")


def columns(frame: pl.LazyFrame, files: Mapping[str, Sequence[str]]) -> dict[str, list[str]] | None:
    """Return the columns that the plan reads of each group of files; None if the plan could not be seen in full.

    `files` are the places of each group's files, as scans have them.
    """
    seen = view(frame)
    if seen.coarse:
        return None
    found: dict[str, list[str]] = {}
    for name, places in files.items():
        of = set(places)
        read = [column for scan in seen.scans if not of.isdisjoint(scan.paths) for column in scan.columns]
        found[name] = list(dict.fromkeys(read))
    return found


class _Visit:
    """One walk through the private view."""

    def __init__(self, frame: pl.LazyFrame) -> None:
        self._at: Any = frame._ldf.visit()
        self._nodes: list[Node] = []
        self._numbers: dict[int, int] = {}
        self._caches: dict[Any, int] = {}

    def view(self) -> View:
        # Not by recursion: a plan of a thousand unions is deep.
        stack = [(self._at.get_node(), False)]
        while stack:
            node, ready = stack.pop()
            if node in self._numbers:
                continue
            self._at.set_node(node)
            seen = self._at.view_current_node()
            inputs = list(self._at.get_inputs())
            if type(seen).__name__ == "Cache" and seen.id_ in self._caches:  # the same rows once more
                self._numbers[node] = self._caches[seen.id_]
            elif ready:
                self._numbers[node] = self._add(seen, inputs)
            else:
                stack.append((node, True))
                stack.extend((one, False) for one in reversed(inputs))
        return View(self._nodes)

    def _add(self, seen: Any, inputs: list[int]) -> int:
        kind = type(seen).__name__
        columns = dict(self._at.get_schema())
        feeds = [self._numbers[one] for one in inputs]
        number = len(self._nodes)
        self._nodes.append(Node(kind, columns, feeds, self._detail(kind, seen, columns)))
        if kind == "Cache":
            self._caches[seen.id_] = number
        return number

    def _detail(self, kind: str, seen: Any, columns: Schema) -> Any:
        match kind:
            case "Scan":
                return self._scan(seen, columns)
            case "Join":
                return str(seen.options[0])
            case "Slice":
                return int(seen.len)
            case "DataFrameScan":
                held = pl.DataFrame._from_pydf(seen.df)
                return held.height, held.estimated_size() / max(1, held.height * len(held.columns))
        return None

    def _scan(self, seen: Any, columns: Schema) -> Scan:
        options = seen.file_options
        words = seen.scan_type
        limit = options.n_rows
        invented = {options.include_file_paths, options.row_index and options.row_index[0]} - {None}
        tests = [] if seen.predicate is None else _tests(self._at, seen.predicate.node)
        return Scan(
            format=str(words[0]),
            paths=[str(path) for path in seen.paths],
            columns=columns,
            tests=tests,
            rows=None if limit is None else int(limit[1]),
            options=json.loads(words[1]) if len(words) > 1 and isinstance(words[1], str) else {},
            invented=frozenset(invented),
        )


def _tests(at: Any, node: int) -> list[Test]:
    """Split a filter at its ANDs and keep the parts that compare a column with a constant; never raises."""
    try:
        seen = at.view_expression(node)
        kind = type(seen).__name__
        if kind == "BinaryExpr":
            word = str(seen.op).rpartition(".")[2]
            if word in ("And", "LogicalAnd"):
                return _tests(at, seen.left) + _tests(at, seen.right)
            if word in _COMPARISONS:
                return _comparison(at, seen.left, _COMPARISONS[word], seen.right)
        if kind == "Function" and "IsBetween" in str(seen.function_data[0]) and seen.function_data[1] == "both":
            column, low, high = seen.input
            return _comparison(at, column, ">=", low) + _comparison(at, column, "<=", high)
    except Exception:  # the view is private; a filter that is not understood leaves nothing out
        return []
    return []


def _comparison(at: Any, left: int, word: str, right: int) -> list[Test]:
    one, other = _bare(at, left), _bare(at, right)
    if type(one).__name__ == "Literal":
        one, other, word = other, one, _MIRRORED[word]
    if type(one).__name__ == "Column" and type(other).__name__ == "Literal" and other.value is not None:
        return [Test(one.name, word, other.value, other.dtype)]
    return []


def _bare(at: Any, node: int) -> Any:
    """Look through a cast of one decimal to another, which Polars adds when the digits differ."""
    seen = at.view_expression(node)
    if type(seen).__name__ == "Cast" and isinstance(seen.dtype, pl.Decimal):
        return at.view_expression(seen.expr)
    return seen


def _explained(frame: pl.LazyFrame, why: str) -> View:
    """Read scans and kinds of nodes off the text of the plan: no filters, no names of columns."""
    text = frame.explain()
    nodes: list[Node] = []
    shares, unseen = {}, {}
    for found in _SOURCES.finditer(text):
        kind, paths, more, read, width = found.groups()
        shares[len(nodes)] = 1.0 if read == "*" else int(read) / max(1, int(width))
        unseen[len(nodes)] = int(more or 0)
        nodes.append(Node("Scan", {}, (), Scan(kind.lower(), paths.split(", "), {})))
    kinds = [("Join", r"\bJOIN:"), ("Sort", r"\bSORT BY\b"), ("GroupBy", r"\bAGGREGATE\b"), ("Distinct", r"\bUNIQUE\b")]
    for name, pattern in kinds:
        nodes += [Node(name, {}, range(len(shares))) for _ in re.findall(pattern, text)]
    return View(nodes, why, shares, unseen)
