"""DuckDB's errors as our own messages: the name, the names in scope, the nearest one, the way out.

DuckDB 2.0.1's texts are recognized by patterns and never passed on: they hold candidate lists of its own system tables,
names of its internals, and advice about its settings. An error that is not recognized is reported by kind and place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.runner.query.sql.equivalents import EQUIVALENTS
from gpuquery.runner.query.sql.errors import Place, SqlError
from gpuquery.runner.query.sql.front import names
from gpuquery.runner.query.sql.front.duckjson_relations import UnusableColumnError
from gpuquery.runner.query.sql.front.scope import columns_around, named_columns, parameter_at, place_of, star
from gpuquery.runner.query.sql.front.tokens import tokens
from gpuquery.runner.query.sql.front.validate import did_you_mean
from gpuquery.runner.query.sql.front.wordings import WORDINGS
from gpuquery.runner.query.sql.types import UnsupportedType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.runner.query.params import Value
    from gpuquery.runner.query.sql.front.source import Source
    from gpuquery.runner.query.sql.types import Columns

Json = dict[str, Any]

_TYPES = {"INTEGER_LITERAL": "INTEGER", "STRING_LITERAL": "VARCHAR", "FLOAT": "REAL"}
_OPERATOR_NAMES = {"~~": "LIKE", "!~~": "NOT LIKE", "~~*": "ILIKE", "!~~*": "NOT ILIKE", "~~~": "GLOB"}
_INDEX = "an index in brackets"


@dataclass(frozen=True)
class ErrorTranslator:
    """Translates DuckDB's errors, with the names that a message may mention."""

    source: Source
    schemas: Mapping[str, Columns]
    values: Mapping[str, Value]
    functions: Callable[[], list[str]]
    """The functions that DuckDB knows; asked only for an unknown one."""

    def error(self, answer: Json, tree: Json | None = None) -> SqlError:
        """Return the error for DuckDB's answer; its `position` counts bytes of the bound text."""
        if tree and (unusable := self._unusable_in(tree)):
            return unusable
        text = str(answer["error_message"])
        position = int(answer["position"]) if "position" in answer else None
        place = self.source.place(position, _length(answer)) if position is not None else None
        for pattern, words in _WORDS:
            if found := re.match(pattern, text, re.DOTALL):
                told = words(self, answer, found, tree, position)
                return SqlError(told, place or self._named(tree, found.groupdict().get("name")))
        kind = str(answer.get("error_type", "")).lower()
        if kind == "parser":
            return SqlError("the statement does not parse here: this is not SQL that a query may contain", place)
        if kind in ("conversion", "out of range", "invalid input"):
            return SqlError(
                "this constant cannot be converted to the type that is needed here: write a value of that type", place
            )
        return SqlError("the statement is not valid here: check the names, the types and the number of values", place)

    def unusable(self, error: UnusableColumnError, tree: Json) -> SqlError:
        """Return the error with the place where the column is named, or of the only star."""
        found = place_of(tree, error.column) or star(tree)
        return SqlError(error.message, self.source.place(*found) if found else None)

    def _unusable_in(self, tree: Json) -> SqlError | None:
        """Return the refusal of a column that the statement names and that it cannot use, if there is one.

        DuckDB knows it by a type that it does not have, which would be said in its place.
        """
        named = named_columns(tree)
        for table, columns in self.schemas.items():
            for name, kind in columns.items():
                if isinstance(kind, UnsupportedType) and name.lower() in named:
                    return self.unusable(UnusableColumnError(table, name, kind.reason), tree)
        return None

    def _named(self, tree: Json | None, name: str | None) -> Place | None:
        """Return where a name stands for which DuckDB tells no place, if it stands in one place only."""
        if not name:
            return None
        if tree and (found := place_of(tree, name)):
            return self.source.place(*found)
        same = [token for token in tokens(self.source.bound) if token.text.strip("\"'") == name]
        return self.source.place(same[0].start, same[0].end - same[0].start) if len(same) == 1 else None

    def parameter(self, tree: Json | None, position: int | None, other: str) -> str | None:
        """Return the sentence about a parameter whose type does not fit its use, if one stands there."""
        name = parameter_at(tree, position, self.source) if tree and position is not None else None
        if name is None:
            return None
        value = self.values[name]
        return f"parameter :{name} is {value.described}, which does not fit {other}: give it another kind, or cast it"


def _length(answer: Json) -> int:
    found = re.match(r"\[(\d+),(\d+)\]", str(answer.get("location", "")))
    return int(found[2]) if found else 0


def _type(name: str) -> str:
    name = name.strip()
    return _TYPES.get(name, name)


def _types(text: str) -> str:
    """`INTEGER, INTEGER_LITERAL` in the names that authors use."""
    return re.sub(r"[A-Z_]+", lambda m: _TYPES.get(m[0], m[0]), text)


def _unknown_column(ex: ErrorTranslator, _: Json, m: re.Match[str], tree: Json | None, position: int | None) -> str:
    name = m["name"]
    known = columns_around(tree, position, ex.schemas) if tree else {}
    if not known:
        return f'column "{name}" does not exist here: there is no FROM with such a column'
    listed = "; ".join(f"{table}: {_some(columns)}" for table, columns in known.items())
    every = [column for columns in known.values() for column in columns]
    return f'column "{name}" does not exist (known: {listed})' + did_you_mean(name, every)


def _some(columns: list[str], limit: int = 30) -> str:
    more = f" and {len(columns) - limit} more" if len(columns) > limit else ""
    return ", ".join(columns[:limit]) + more


def _no_column_in(ex: ErrorTranslator, _: Json, m: re.Match[str], tree: Json | None, position: int | None) -> str:
    known = columns_around(tree, position, ex.schemas) if tree else {}
    table = next((columns for alias, columns in known.items() if alias.lower() == m["table"].lower()), [])
    listed = f" (known: {_some(table)})" if table else ""
    return f'table "{m["table"]}" has no column "{m["name"]}"{listed}' + did_you_mean(m["name"], table)


def _no_table(ex: ErrorTranslator, _: Json, m: re.Match[str], tree: Json | None, position: int | None) -> str:
    known = list(columns_around(tree, position, ex.schemas) if tree else {})
    listed = ", ".join(known) or "none"
    return f'table "{m["name"]}" is not in FROM here (known: {listed})' + did_you_mean(m["name"], known)


def _no_function(ex: ErrorTranslator, _: Json, m: re.Match[str], tree: Json | None, position: int | None) -> str:
    if way_out := EQUIVALENTS.get(m["name"].lower()):
        return f"function {m['name']}() does not exist: {way_out}"
    known = [name for name in ex.functions() if name[0].isalpha() and not names.refusal(name)]
    return f"function {m['name']}() does not exist" + did_you_mean(m["name"], known)


def _no_type(ex: ErrorTranslator, _: Json, m: re.Match[str], tree: Json | None, position: int | None) -> str:
    return f'type "{m["name"]}" does not exist' + did_you_mean(m["name"], _KNOWN_TYPES)


_KNOWN_TYPES = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "REAL", "FLOAT", "DOUBLE", "DECIMAL", "NUMERIC",
    "VARCHAR", "TEXT", "CHAR", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "INTERVAL", "BLOB", "STRUCT",
)  # fmt: skip


def _no_match(ex: ErrorTranslator, answer: Json, m: re.Match[str], tree: Json | None, position: int | None) -> str:
    name, given = m["name"], _types(m["types"])
    if sentence := ex.parameter(tree, position, f"{_called(name)} with ({given})"):
        return sentence
    if not name[0].isalpha():
        return f"{_shown(name, given)} does not exist: cast one side to a type that fits"
    if name in ("array_extract", "struct_extract"):
        return f"{_INDEX} does not fit: lists take whole numbers from 1, records take names, not ({given})"
    known = "; ".join(_signatures(str(answer["error_message"]))[:6])
    return f"{name}({given}) does not exist (known: {known}): cast the arguments to types that fit"


def _signatures(message: str) -> list[str]:
    """`sum(arg DECIMAL) -> DECIMAL` of each candidate as `sum(DECIMAL)`."""
    found = []
    for line in message.split("\n\t")[2:]:
        if inside := re.match(r'"?([^"(]+)"?\((.*)\) -> ', line.strip()):
            kinds = [re.sub(r'^"?\w+"? ', "", part) for part in inside[2].replace(", /", "").split(", ")]
            found.append(f"{inside[1]}({', '.join(_type(k) for k in kinds)})")
    return list(dict.fromkeys(found))


def _called(name: str) -> str:
    return f"{name}()" if name[0].isalpha() else f'the operator "{_OPERATOR_NAMES.get(name, name)}"'


def _shown(name: str, given: str) -> str:
    sides = given.split(", ")
    name = _OPERATOR_NAMES.get(name, name)
    return f"{sides[0]} {name} {sides[1]}" if len(sides) == 2 else f"{name}({given})"


def _cannot_compare(ex: ErrorTranslator, _: Json, m: re.Match[str], tree: Json | None, position: int | None) -> str:
    left, right = _type(m["left"]), _type(m["right"])
    if sentence := ex.parameter(tree, position, f"a comparison of {left} with {right}"):
        return sentence
    return f"{left} and {right} cannot be compared: cast one of them"


def _ungrouped(ex: ErrorTranslator, _: Json, m: re.Match[str], tree: Json | None, position: int | None) -> str:
    name = m["name"]
    return (
        f'column "{name}" is neither in GROUP BY nor inside an aggregate: add it to GROUP BY, or use any_value({name})'
    )


def _fixed(words: str) -> Callable[..., str]:
    return lambda _ex, _answer, match, _tree, _position: words.format(
        **{k: _type(str(v)) for k, v in match.groupdict().items()}
    )


_WORDS: tuple[tuple[str, Callable[..., str]], ...] = (
    (r'Referenced column "(?P<name>.*?)" (not found|was not found)', _unknown_column),
    (r'Table "(?P<table>.*?)" does not have a column named "(?P<name>.*?)"', _no_column_in),
    (r'Referenced table "(?P<name>.*?)" not found', _no_table),
    (r"Scalar Function with name (?P<name>.*?) does not exist", _no_function),
    (r"Aggregate Function with name (?P<name>.*?) does not exist", _no_function),
    (r"Type with name (?P<name>.*?) does not exist", _no_type),
    (r"No function matches the given name and argument types '(?P<name>[^(]+)\((?P<types>.*?)\)'\.", _no_match),
    (
        r'Could not choose a best candidate function for the function call "(?P<name>[^(]+)\((?P<types>.*?)\)"',
        _no_match,
    ),
    (
        r"Cannot compare values of type (?P<left>.*?) and (?:type )?(?P<right>.*?)(?: in .*)? - an explicit",
        _cannot_compare,
    ),
    (r'column "?(?P<name>[^"]*?)"? must appear in the GROUP BY', _ungrouped),
    *((pattern, _fixed(words)) for pattern, words in WORDINGS),
)
