"""Expressions as a person would write them: with the author's names of columns, as SQL."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.plan import (
    AggregateCall,
    Bound,
    Call,
    Case,
    Cast,
    Column,
    Expression,
    Frame,
    Interval,
    Lambda,
    Literal,
    Parameter,
    SortKey,
    WindowCall,
)
from gpuquery.runner.query.sql.rules.facts import widens

if TYPE_CHECKING:
    from collections.abc import Sequence

LISTED = 6
"""So many candidates of an IN are shown."""
_STRENGTH = {"or": 1, "and": 2, "not": 3, "+": 5, "-": 5, "||": 5, "*": 6, "/": 6, "//": 6, "%": 6}
_COMPARING = 4
_WORDS = {"like": "LIKE", "ilike": "ILIKE", "glob": "GLOB"}
_COMPARISONS = {"=", "<>", "<", "<=", ">", ">="}
_NULL_SAFE = {"is distinct from": "IS DISTINCT FROM", "is not distinct from": "IS NOT DISTINCT FROM"}
_UNITS = ((12, "year"), (1, "month"))


def sql_text(node: Expression, names: Sequence[str]) -> str:
    """Return an expression as text; names are those of the columns of the relation below."""
    return _Printer(names).of(node, 0)


def sort_keys(order: Sequence[SortKey], names: Sequence[str]) -> str:
    """Return the keys of an ORDER BY as text. NULLs come last unless it says otherwise."""
    return ", ".join(_key(key, names) for key in order)


def _key(key: SortKey, names: Sequence[str]) -> str:
    return (
        sql_text(key.value, names) + (" DESC" if key.descending else "") + (" NULLS FIRST" if key.nulls_first else "")
    )


def constant(value: Any) -> str:
    """Return a constant as SQL writes it."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).upper()
        case str():
            quoted = value if len(value) <= 60 else value[:59] + "…"
            return "'" + quoted.replace("'", "''").replace("\n", " ") + "'"
        case Interval():
            return f"INTERVAL '{_interval(value)}'"
        case dt.datetime():
            return f"TIMESTAMP '{value}'"
        case dt.date():
            return f"DATE '{value}'"
        case dt.time():
            return f"TIME '{value}'"
        case list():
            return f"[{', '.join(constant(item) for item in value[:LISTED])}{', …' if len(value) > LISTED else ''}]"
        case _:
            return str(value)


def _interval(value: Interval) -> str:
    parts = []
    months = value.months
    for size, name in _UNITS:
        if months and months % size == 0:
            parts.append(f"{months // size} {name}{'s' if abs(months // size) != 1 else ''}")
            break
    if value.days:
        parts.append(f"{value.days} day{'s' if abs(value.days) != 1 else ''}")
    if value.micros or not parts:
        parts.append(f"{value.micros / 1_000_000:g} seconds")
    return " ".join(parts)


class _Printer:
    """Writes expressions over one relation."""

    def __init__(self, names: Sequence[str], parameters: tuple[str, ...] = ()) -> None:
        self._names = names
        self._parameters = parameters

    def of(self, node: Expression, strength: int) -> str:
        """Return the text, in parentheses if what is around binds as strongly."""
        match node:
            case Column():
                return self._names[node.index] if node.index < len(self._names) else f"column {node.index + 1}"
            case Literal():
                return constant(node.value)
            case Cast():
                if widens(node):
                    return self.of(node.input, strength)
                word = "TRY_CAST" if node.null_on_failure else "CAST"
                return f"{word}({self.of(node.input, 0)} AS {node.type})"
            case Case():
                branches = " ".join(f"WHEN {self.of(c, 0)} THEN {self.of(v, 0)}" for c, v in node.branches)
                return f"CASE {branches} ELSE {self.of(node.otherwise, 0)} END"
            case Parameter():
                place = len(self._parameters) - 1 - node.index
                return self._parameters[place] if 0 <= place < len(self._parameters) else "x"
            case Lambda():
                names = tuple("xyzuvw"[i % 6] for i in range(len(node.parameters)))
                body = _Printer(self._names, tuple(reversed(names))).of(node.body, 0)
                return f"{', '.join(names)} -> {body}"
            case AggregateCall():
                return self._aggregate(node)
            case WindowCall():
                return self._window(node)
            case Call():
                return self._call(node, strength)
            case _:
                return type(node).__name__

    def _list(self, nodes: Sequence[Expression]) -> str:
        return ", ".join(self.of(node, 0) for node in nodes)

    def _call(self, node: Call, strength: int) -> str:
        name, arguments = node.function, node.arguments
        if name in ("and", "or") or (name in _STRENGTH and len(arguments) == 2 and name != "not"):
            own = _STRENGTH[name]
            later = own if name in ("and", "or") else own + 1
            sides = [self.of(part, later if i else own) for i, part in enumerate(arguments)]
            return _enclosed(f" {name.upper()} ".join(sides), own, strength)
        if name in ("not", "-", "+") and len(arguments) == 1:
            word = "NOT " if name == "not" else name
            return _enclosed(word + self.of(arguments[0], _STRENGTH["not"] + 3), _STRENGTH["not"], strength)
        if name in ("is null", "is not null"):
            return _enclosed(f"{self.of(arguments[0], _COMPARING + 1)} {name.upper()}", _COMPARING, strength)
        if name == "in":
            return _enclosed(self._in(arguments), _COMPARING, strength)
        between = name if name in _COMPARISONS else _NULL_SAFE.get(name) or _WORDS.get(name)
        if between and len(arguments) == 2:
            left, right = (self.of(part, _COMPARING + 1) for part in arguments)
            return _enclosed(f"{left} {between} {right}", _COMPARING, strength)
        return f"{name}({self._list(arguments)})"

    def _in(self, arguments: Sequence[Expression]) -> str:
        value, *candidates = arguments
        more = f", … {len(candidates)} values" if len(candidates) > LISTED else ""
        return f"{self.of(value, _COMPARING + 1)} IN ({self._list(candidates[:LISTED])}{more})"

    def _arguments(self, node: AggregateCall | WindowCall, order: Sequence[SortKey]) -> str:
        inside = self._list(node.arguments) or ("*" if node.function == "count" else "")
        if node.distinct:
            inside = f"DISTINCT {inside}"
        ordered = f" ORDER BY {sort_keys(order, self._names)}" if order else ""
        condition = f" FILTER (WHERE {self.of(node.filter, 0)})" if node.filter is not None else ""
        return f"{node.function}({inside}{ordered}){condition}"

    def _aggregate(self, node: AggregateCall) -> str:
        return self._arguments(node, node.order)

    def _window(self, node: WindowCall) -> str:
        parts = []
        if node.partition:
            parts.append(f"PARTITION BY {self._list(node.partition)}")
        if node.order:
            parts.append(f"ORDER BY {sort_keys(node.order, self._names)}")
        if node.frame is not None and (node.order or not _is_whole(node.frame)):
            parts.append(self._frame(node.frame))
        nulls = " IGNORE NULLS" if node.ignore_nulls else ""
        return f"{self._arguments(node, node.argument_order)}{nulls} OVER ({' '.join(parts)})"

    def _frame(self, frame: Frame) -> str:
        return f"{frame.unit.value} BETWEEN {self._bound(frame.start)} AND {self._bound(frame.end)}"

    def _bound(self, bound: Bound) -> str:
        word = "FOLLOWING" if bound.following else "PRECEDING"
        if bound.unbounded:
            return f"UNBOUNDED {word}"
        return "CURRENT ROW" if bound.offset is None else f"{self.of(bound.offset, 0)} {word}"


def _is_whole(frame: Frame) -> bool:
    return frame.start.unbounded and frame.end.unbounded


def _enclosed(inner: str, own: int, around: int) -> str:
    return f"({inner})" if own < around else inner
