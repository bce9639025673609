"""The fingerprint of a query's optimized plan: the same in every process that makes the same plan of the same files.

Polars' own forms of a plan do not serve: `explain()` cuts long file lists and literals short, `serialize()` holds the
query before it was optimized and pickles of functions. What is fingerprinted is the private view from which
cudf-polars translates (`LazyFrame._ldf.visit()`), node by node: the files, tables and expressions themselves.

Names and numbers that Polars makes up anew in every process count by the order in which they come up, what it takes
from a set (conjunctions, columns to read) has no order, and credentials do not count at all. Parts that the view does
not show (cudf-polars cannot run those either) count by the text of `explain()`. That holds for Polars 1.38 to 1.44;
older versions, of releases without ranks, give random names to the columns of an SQL sub-query.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any

import polars as pl

MAX_SOURCES = 24
"""How many sources a fingerprint describes one by one: it travels through the supervisors at a barrier."""
MAX_LABEL = 120
_IN_MEMORY = "table in memory"
_MADE_UP = re.compile(r"(_POLARS_\w*?)(0x[0-9a-f]+|[0-9]+|[0-9a-f]{16,})")
_MADE_UP_IN_TEXT = re.compile(r"0x[0-9a-f]{6,}|\b\d{12,}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|_POLARS_\w+")
_WORD = re.compile(r"\w+|[^\w\s]")
_LARGE = 1 << 63
"""Integers from here on are identities that Polars draws at random."""
_EXPRESSIONS: Mapping[str, tuple[str, ...]] = {
    "Agg": ("arguments",),
    "Alias": ("expr",),
    "BinaryExpr": ("left", "right"),
    "Cast": ("expr",),
    "Column": (),
    "Explode": ("expr",),
    "Filter": ("by", "input"),
    "Function": ("input",),
    "Gather": ("expr", "idx"),
    "Len": (),
    "Literal": (),
    "Rolling": ("function", "index_column"),
    "Slice": ("input", "length", "offset"),
    "Sort": ("expr",),
    "SortBy": ("by", "expr"),
    "Ternary": ("falsy", "predicate", "truthy"),
    "Window": ("function", "order_by", "partition_by"),
}
"""Attributes of expressions that are numbers of expressions."""
_CONJUNCTIONS = frozenset({"Operator.And", "Operator.LogicalAnd"})
_FEEDS = frozenset({"input", "inputs", "input_left", "input_right", "contexts", "cache_hits"})
"""Attributes of nodes that say nothing of their own: the inputs follow anyway."""


@dataclass(frozen=True)
class Source:
    """Files or a table in memory that the plan reads."""

    label: str
    """What it is and how large, without the part that ranks may differ in."""
    digest: str


@dataclass(frozen=True)
class Fingerprint:
    """The digest of one rank's plan, and of what it reads."""

    digest: str
    """SHA-256 of the whole plan."""
    sources: tuple[Source, ...]
    """The first sources, in the plan's order."""

    def value(self) -> dict[str, Any]:
        """Return it as JSON, for a barrier."""
        return {"hash": self.digest, "sources": [[one.label, one.digest] for one in self.sources]}

    @classmethod
    def of_value(cls, value: Mapping[str, Any]) -> Fingerprint:
        """Return the fingerprint from what `value` returned."""
        return cls(str(value["hash"]), tuple(Source(str(a), str(b)) for a, b in value["sources"]))


def fingerprint(frame: pl.LazyFrame) -> Fingerprint:
    """Take the fingerprint of a plan; the same in every process of one image for the same query and files.

    Optimizes the plan. Errors of the query itself go through as Polars raises them.
    """
    walk = _walked(frame)
    if walk.unseen:
        walk.text(frame.explain())
    return Fingerprint(walk.hash.hexdigest(), tuple(walk.sources[:MAX_SOURCES]))


def _walked(frame: pl.LazyFrame) -> _Walk:
    schema = frame.collect_schema()
    walk = _Walk(frame._ldf.visit())
    try:
        walk.run([*schema.items(), _Step(walk.at.get_node())])
    except (AttributeError, TypeError, ValueError, IndexError):  # a private view may change
        walk = _Walk(walk.at, unseen=True, sources=walk.sources)
    return walk


def own_tables(frame: pl.LazyFrame) -> tuple[str, ...]:
    """Describe the tables that the plan holds itself, in memory. Optimizes the plan, as `fingerprint` does."""
    walk = _walked(frame)
    return tuple(source.label for source in walk.sources if source.label.startswith(_IN_MEMORY))


@dataclass
class _Call:
    """An expression to be visited, by its number."""

    number: int


@dataclass
class _Step:
    """A node to be visited, by its number."""

    number: int


@dataclass
class _Walk:
    """One walk through the view, in the order of the plan from its result; not by recursion, for plans are deep."""

    at: Any
    hash: Any = field(default_factory=hashlib.sha256)
    sources: list[Source] = field(default_factory=list)
    unseen: bool = False
    plain: bool = False
    """Whether all made-up names count as one."""
    _names: dict[Any, int] = field(default_factory=dict)
    _caches: set[Any] = field(default_factory=set)

    def run(self, items: Sequence[Any]) -> None:
        """Take values, and what they lead to."""
        stack: list[Iterator[Any]] = [iter(items)]
        while stack:
            for item in stack[-1]:
                if isinstance(item, _Step):
                    stack.append(self._node(item.number))
                    break
                if isinstance(item, _Call):
                    stack.append(self._expression(item.number))
                    break
                if _is_expression(item):
                    self._put("expression", self._named(str(item.output_name)))
                    stack.append(iter([_Call(item.node)]))
                    break
                if isinstance(item, (list, tuple)):
                    self._put("list", str(len(item)))
                    stack.append(iter(item))
                    break
                self._value(item)
            else:
                stack.pop()

    def text(self, text: str) -> None:
        """Take the plan's text, line by line, without the order of words: that of columns and filters may be random."""
        for line in _MADE_UP_IN_TEXT.sub("#", text).splitlines():
            if "\N{GREEK SMALL LETTER PI}" not in line:  # which names the first columns of some order
                self._put("line", *sorted(_WORD.findall(line)))

    def _node(self, number: int) -> Iterator[Any]:
        self.at.set_node(number)
        feeds = list(self.at.get_inputs())
        try:
            seen = self.at.view_current_node()
        except NotImplementedError as exc:
            self.unseen = True
            self._put("unseen node", str(exc), str(len(feeds)))
            return iter([_Step(one) for one in feeds])
        kind = type(seen).__name__
        self._put("node", kind, str(len(feeds)))
        if kind in ("SimpleProjection", "Scan"):
            self._value({str(name): dtype for name, dtype in self.at.get_schema().items()})
        if kind == "Cache":
            known = seen.id_ in self._caches
            self._caches.add(seen.id_)
            self._put(str(self._order(seen.id_)))
            return iter([] if known else [_Step(one) for one in feeds])
        if kind == "DataFrameScan":
            self._table(seen)
        elif kind == "Scan":
            self._scan(seen)
        skipped = _FEEDS | ({"df"} if kind == "DataFrameScan" else set())
        skipped |= {"paths", "file_info", "scan_type"} if kind == "Scan" else set()
        return iter([*_attributes(seen, skipped), *(_Step(one) for one in feeds)])

    def _expression(self, number: int) -> Iterator[Any]:
        try:
            seen = self.at.view_expression(number)
        except NotImplementedError as exc:
            self.unseen = True
            self._put("unseen expression", str(exc))
            return iter(())
        kind = type(seen).__name__
        self._put("expression", kind)
        if kind not in _EXPRESSIONS:
            self.unseen = True
            return iter(())
        if kind == "BinaryExpr" and str(seen.op) in _CONJUNCTIONS:
            # Some versions of Polars (1.31 to 1.38 at least) put filters together in an order that changes by process.
            parts = sorted(self._conjuncts(number), key=self._plain)
            return iter([str(len(parts)), *(_Call(one) for one in parts)])
        if kind == "Literal":
            self._put(repr(seen.dtype))
            self._value(seen.value, literal=True)
            return iter(())
        return iter(_calls(seen, _EXPRESSIONS[kind]))

    def _conjuncts(self, number: int) -> list[int]:
        found, stack = [], [number]
        while stack:
            seen = self._viewed(one := stack.pop())
            if type(seen).__name__ == "BinaryExpr" and str(seen.op) in _CONJUNCTIONS:
                stack += [seen.right, seen.left]
            else:
                found.append(one)
        return found

    def _viewed(self, number: int) -> Any:
        try:
            return self.at.view_expression(number)
        except NotImplementedError:
            return None

    def _plain(self, number: int) -> bytes:
        """Digest an expression without regard to when a name came up first."""
        walk = _Walk(self.at, plain=True)
        walk.run([_Call(number)])
        return bytes(walk.hash.digest())

    def _scan(self, seen: Any) -> None:
        paths = [str(path) for path in seen.paths]
        kind, *options = seen.scan_type
        self._put("scan", str(kind), *(str(one) for one in options[:1]))  # what follows is the store's: credentials
        first = f" from {paths[0]}" if paths else ""
        if len(first) > MAX_LABEL:
            first = f"{first[:MAX_LABEL]}..."
        count = "1 file" if len(paths) == 1 else f"{len(paths)} files"
        self._source(f"input of {count}{first}", "\0".join(paths).encode())

    def _table(self, seen: Any) -> None:
        frame = pl.DataFrame._from_pydf(seen.df)
        columns = ", ".join(frame.columns)
        label = f"{_IN_MEMORY} of {frame.height} rows ({columns[:MAX_LABEL]})"
        self._put(repr(frame.schema))
        self._source(label, _rows(frame))

    def _source(self, label: str, content: bytes) -> None:
        digest = hashlib.sha256(content).hexdigest()
        self._put("source", digest)
        self.sources.append(Source(label, digest[:16]))

    def _value(self, value: Any, *, literal: bool = False) -> None:
        """Take what is neither node nor expression nor list."""
        kind = type(value).__name__
        match value:
            case None | bool() | float() | bytes() | date() | time() | timedelta() | Decimal() | pl.DataType():
                self._put(kind, repr(value))
            case int():
                known = not literal and abs(value) >= _LARGE
                self._put(kind, f"#{self._order(value)}" if known else str(value))
            case str() | PurePath():
                self._put(kind, self._named(str(value)))
            case pl.Series():
                self._put(kind, repr(value.dtype), str(len(value)), _rows(value.to_frame()).hex())
            case list() | tuple():
                self._put(kind, str(len(value)))
                for one in value:
                    self._value(one, literal=literal)
            case Mapping():
                self._put(kind, str(len(value)))
                for key in sorted(value, key=str):
                    self._value(key, literal=literal)
                    self._value(value[key], literal=literal)
            case _:
                self._other(value, kind)

    def _other(self, value: Any, kind: str) -> None:
        if kind == "PySeries":
            self._value(pl.Series._from_pyseries(value))
        elif kind == "PyDataFrame":
            self._put(kind, _rows(pl.DataFrame._from_pydf(value)).hex())
        elif callable(value):
            code = getattr(value, "__code__", None)
            name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
            self._put("function", name, code.co_code.hex() if code else "")
        elif " object at 0x" not in (shown := repr(value)):
            self._put(kind, self._named(shown))
        elif isinstance(value, type) or not _public(value):
            self._put(kind)
        else:  # options of a node
            self._put(kind)
            for one in _attributes(value, frozenset()):
                self._value(one)

    def _named(self, text: str) -> str:
        if "_POLARS_" not in text:
            return text
        return _MADE_UP.sub(lambda found: f"{found[1]}#{self._order(found[0])}", text)

    def _order(self, name: Any) -> int:
        return 0 if self.plain else self._names.setdefault(name, len(self._names))

    def _put(self, *words: str) -> None:
        for word in words:
            encoded = word.encode(errors="surrogatepass")
            self.hash.update(f"{len(encoded)}:".encode())
            self.hash.update(encoded)


def _is_expression(value: Any) -> bool:
    return type(value).__name__ == "PyExprIR"


def _public(seen: Any) -> list[str]:
    return [name for name in sorted(dir(seen)) if not name.startswith("_")]


def _attributes(seen: Any, skipped: frozenset[str] | set[str]) -> list[Any]:
    """Give names and values of the attributes, by name."""
    found: list[Any] = []
    for name in _public(seen):
        if name not in skipped and not callable(value := _attribute(seen, name)):
            if name == "with_columns" and value is not None:
                value = sorted(value)  # some versions take the columns that are read from a set
            # A filter's own name is that of the column that happens to come first in it.
            found += [name, _Call(value.node) if name == "predicate" and _is_expression(value) else value]
    return found


def _attribute(seen: Any, name: str) -> Any:
    try:
        return getattr(seen, name)
    except NotImplementedError as exc:
        return f"unseen: {exc}"


def _calls(seen: Any, numbers: Sequence[str]) -> list[Any]:
    found: list[Any] = []
    for name in _public(seen):
        value = _attribute(seen, name)
        if name in numbers and value is not None:
            many = list(value) if isinstance(value, (list, tuple)) else [value]
            found += [name, str(len(many)), *(_Call(one) for one in many)]
        else:
            found += [name, value]
    return found


def _rows(frame: pl.DataFrame) -> bytes:
    """Digest the rows in their order, whatever the chunks that they lie in."""
    try:
        hashes = frame.hash_rows(1, 2, 3, 4).rename("") if frame.columns else pl.Series("", [], pl.UInt64)
        file = io.BytesIO()
        hashes.rechunk().to_frame().write_ipc(file)
        return hashlib.sha256(file.getvalue()).digest()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):  # a type that has no hash
        return hashlib.sha256(repr(frame.rows()).encode(errors="surrogatepass")).digest()
