"""Generated expressions of SQL: templates by the sort of their result, filled from the columns in scope.

A template that PostgreSQL lacks or understands otherwise than DuckDB is marked with `!`, and PostgreSQL is not asked.
One with `?` has PostgreSQL's meaning here, and DuckDB is not asked. `docs/sql.md` has the table of those.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tests.support import sql_rich_expressions as rich

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

SORTS = ("int", "dec", "float", "text", "bool", "date", "ts")
LITERALS: Mapping[str, tuple[str, ...]] = {
    **rich.LITERALS,
    "int": ("0", "1", "2", "-1", "3", "7", "10", "-25", "100"),
    "dec": ("0.5", "1.10", "-2.50", "0.01", "100.00", "0.0", "2.5"),
    "float": ("CAST(0.5 AS double precision)", "CAST(-2.5 AS double precision)", "CAST(3 AS double precision)"),
    "text": ("'a'", "''", "'A'", "'a_b'", "' '", "'zzz'", "'été'", "'0'", "'one'"),
    "bool": ("TRUE", "FALSE"),
    "date": ("DATE '2024-01-31'", "DATE '2023-12-31'", "DATE '2020-02-29'"),
    "ts": ("TIMESTAMP '2024-01-31 23:59:59.999999'", "TIMESTAMP '2023-12-31 00:00:00'"),
}
TYPES: Mapping[str, str] = {
    "int": "bigint", "dec": "numeric(18, 4)", "float": "double precision", "text": "varchar", "bool": "boolean",
    "date": "date", "ts": "timestamp", **rich.TYPES,
}  # fmt: skip
"""What a NULL of a sort is cast to."""
RICH = 0.15
"""The share of expressions that come from lists, records, times, zones, spans and bytes."""

_ANY = (
    "CASE WHEN {bool} THEN {same} ELSE {same} END",
    "CASE WHEN {bool} THEN {same} WHEN {bool} THEN {same} END",
    "CASE {int} WHEN 1 THEN {same} WHEN {int} THEN {same} ELSE {same} END",
    "coalesce({same}, {same})",
    "nullif({same}, {same})",
)
_MIN_MAX = ("greatest({same}, {same})", "least({same}, {same})")
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    **rich.TEMPLATES,
    "int": (
        *_ANY,
        *_MIN_MAX,
        "{int} + {int}",
        "{int} - {int}",
        "{int} * {small}",
        "-({int})",
        "abs({int})",
        "{int} % {nonzero}",
        "!{int} // {nonzero}",
        "!{int} // {int}",
        "!{int} % {int}",
        "!CAST(sign({int}) AS integer)",
        "length({text})",
        "CAST({dec} AS integer)",
        "!CAST({float} AS bigint)",
        "CAST({bool} AS integer)",
        "CAST(extract({part} FROM {date}) AS integer)",
        "!date_diff('day', {date}, {date})",
        "{date} - {date}",
        "!datediff('month', {date}, {date})",
        "!year({date})",
        "strpos({text}, {text})",
        "ascii({text})",
        "!TRY_CAST({text} AS integer)",
        "CAST(extract({part} FROM {ts}) AS integer)",
        "!{int} & {int}",
        "!{int} | {small}",
        "!bit_count({int})",
        "!CAST({int} AS smallint)",
        "!TRY_CAST({int} AS tinyint)",
        "!dayofweek({date})",
    ),
    "dec": (
        *_ANY,
        *_MIN_MAX,
        "{dec} + {dec}",
        "{dec} - {dec}",
        "{dec} * {litdec}",
        "{dec} + {int}",
        "{dec} * {small}",
        "-({dec})",
        "abs({dec})",
        "round({dec}, 1)",
        "round({dec}, 0)",
        "CAST({int} AS numeric(12, 2))",
        "CAST({dec} AS numeric(12, 1))",
        "CAST({dec} AS numeric(18, 3))",
        "!CAST({float} AS numeric(12, 2))",
        "floor({dec})",
        "ceil({dec})",
        "!CAST({text} AS numeric(9, 2))",
        "!TRY_CAST({text} AS numeric(9, 2))",
        "{dec} % {litdec}",
        "trunc({dec})",
    ),
    "float": (
        *_ANY,
        "!greatest({same}, {same})",
        "!least({same}, {same})",
        "{float} + {float}",
        "{float} - {float}",
        "{float} * {float}",
        "!{float} / {float}",
        "{float} / {litfloat}",
        "!{int} / {int}",
        "!{dec} / {dec}",
        "!{int} / {nonzero}",
        "-({float})",
        "abs({float})",
        "sqrt(abs({float}))",
        "floor({float})",
        "ceil({float})",
        "CAST({int} AS double precision)",
        "CAST({dec} AS double precision)",
        "!round({float}, 1)",
        "!round({float})",
        "!ln(abs({float}) + 1)",
        "power({float}, 2)",
        "exp({litfloat})",
        "!CAST({float} AS real)",
        "trunc({float})",
        "!{float} % {litfloat}",
        "atan({float})",
        "!{float} + {dec}",
        "!{float} * {int}",
    ),
    "text": (
        *_ANY,
        *_MIN_MAX,
        "{text} || {text}",
        "upper({ascii})",
        "lower({text})",
        "trim({text})",
        "ltrim({text})",
        "substr({text}, {positive})",
        "substr({text}, {positive}, {positive})",
        "!substr({text}, {int}, {int})",
        "replace({text}, 'a', {text})",
        "left({text}, {positive})",
        "right({text}, {positive})",
        "!left({text}, {int})",
        "reverse({text})",
        "lpad({text}, 4, '*')",
        "rpad({text}, 3, '-')",
        "concat({text}, {text})",
        "CAST({int} AS varchar)",
        "CAST({date} AS varchar)",
        "CAST({dec} AS varchar)",
        "CAST({bool} AS varchar)",
        "!CAST({ts} AS varchar)",
        "!CAST({float} AS varchar)",
        "repeat({text}, 2)",
        "concat_ws('-', {text}, {text})",
        "split_part({text}, '_', 1)",
        "!strftime({ts}, '%Y-%m-%d %H:%M')",
        "!{text}[1:2]",
        "translate({text}, 'ab', 'x')",
        "!regexp_replace({text}, '[ab]+', '.')",
        "!regexp_extract({text}, '([a-z])(.)', 2)",
    ),
    "bool": (
        "{int} {op} {int}",
        "{dec} {op} {dec}",
        "{float} {op} {float}",
        "{text} {op} {text}",
        "{date} {op} {date}",
        "{ts} {op} {ts}",
        "{int} {op} {dec}",
        "!{dec} {op} {float}",
        "{bool} {op} {bool}",
        "{date} {op} {ts}",
        "{any} IS NULL",
        "{any} IS NOT NULL",
        "{bool} IS {truth}",
        "{bool} IS NOT {truth}",
        "NOT {bool}",
        "({bool} AND {bool})",
        "({bool} OR {bool})",
        "({bool} AND {bool} OR NOT {bool})",
        "{int} {distinct} {int}",
        "{text} {distinct} {text}",
        "{dec} {distinct} {dec}",
        "{float} {distinct} {float}",
        "{int} BETWEEN {int} AND {int}",
        "{date} NOT BETWEEN {date} AND {date}",
        "{dec} BETWEEN {dec} AND {int}",
        "{int} {in} ({int}, {int}, NULL)",
        "{int} {in} (1, 2, 3)",
        "{text} {in} ('a', {text})",
        "{dec} {in} (0.5, {dec})",
        "{text} {in} ('a', 'zzz', '')",
        "{text} {like} '%a%'",
        "{text} {like} 'a_b'",
        "{text} {like} '_'",
        "{text} {like} ''",
        "{text} LIKE 'a!_%' ESCAPE '!'",
        "!{text} LIKE {text}",
        "{text} ILIKE 'A%'",
        "starts_with({text}, {text})",
        "!contains({text}, {text})",
        "!regexp_matches({text}, '^[a-z]')",
        "?({int}, {text}) IN ((1, 'a'), (2, 'A'))",
        "?({int}, {text}) {eq} ({int}, {text})",
        "?({int}, {dec}) {op} ({int}, {dec})",
        "coalesce({bool}, {bool})",
        "CASE WHEN {bool} THEN {bool} END",
        "!isnan({float})",
        "{date} {in} ({date}, {date})",
    ),
    "date": (
        *_ANY,
        *_MIN_MAX,
        "{date} + {small}",
        "{date} - {small}",
        "CAST({ts} AS date)",
        "!last_day({date})",
        "!CAST(date_trunc('month', {date}) AS date)",
        "CAST({date} + INTERVAL '1 month' AS date)",
        "!make_date(2024, 2, {positive})",
        "!TRY_CAST({leaftext} AS date)",
        "CAST({date} - INTERVAL '1 year' AS date)",
    ),
    "ts": (
        *_ANY,
        *_MIN_MAX,
        "{ts} + INTERVAL '1 day'",
        "{ts} - INTERVAL '2 hours'",
        "{ts} + INTERVAL '1 month'",
        "CAST({date} AS timestamp)",
        "date_trunc('{trunc}', {ts})",
        "{date} + INTERVAL '90 minutes'",
        "!date_add({date}, INTERVAL 3 DAY)",
        "!TRY_CAST({leaftext} AS timestamp)",
    ),
}
_WORDS: Mapping[str, tuple[str, ...]] = {
    "small": ("0", "1", "2", "-3", "5"), "nonzero": ("1", "2", "3", "-2", "7"), "positive": ("1", "2", "3", "5"),
    "litdec": ("0.5", "1.25", "-2.0"), "litfloat": ("CAST(4 AS double precision)", "CAST(-0.5 AS double precision)"),
    "ascii": ("'abC'", "'x_y'"), "op": ("=", "<>", "<", "<=", ">", ">="), "in": ("IN", "NOT IN"),
    "like": ("LIKE", "NOT LIKE"), "truth": ("TRUE", "FALSE", "UNKNOWN"),
    "distinct": ("IS DISTINCT FROM", "IS NOT DISTINCT FROM"), "part": ("year", "month", "day", "quarter", "dow", "doy"),
    "eq": ("=", "<>"), "zone": ("Europe/Berlin", "America/New_York", "UTC", "Asia/Kolkata"), "year": ("2023", "2024"),
    "trunc": ("year", "month", "day", "hour", "minute", "week", "quarter"),
}  # fmt: skip
_HOLE = re.compile(r"\{(\w+)\}")


class Reference(NamedTuple):
    """A column as a statement names it, and its sort."""

    text: str
    sort: str


class Expressions:
    """Draws expressions; `portable` leaves out what PostgreSQL lacks or understands otherwise."""

    def __init__(self, random: Random, *, portable: bool) -> None:
        self._random = random
        self.portable = portable

    def make(self, sort: str, scope: Sequence[Reference], depth: int) -> str:
        """Return an expression of a sort."""
        if depth <= 0 or self._random.random() < 0.2:
            return self._leaf(sort, scope)
        known = TEMPLATES[sort]
        if sort in rich.INTO and not self.portable and self._random.random() < RICH:
            known = rich.INTO[sort]
        templates = [t for t in known if not t.startswith("!" if self.portable else "?")]
        template = self._random.choice(templates).lstrip("!?")
        return _HOLE.sub(lambda hole: self._fill(hole[1], sort, scope, depth - 1), f"({template})")

    def column(self, scope: Sequence[Reference], sorts: Sequence[str] = SORTS) -> Reference:
        """Return a column of one of these sorts, or if there is none of any sort that has functions."""
        known = [r for r in scope if r.sort in sorts] or [r for r in scope if r.sort in SORTS]
        return self._random.choice(known)

    def _fill(self, hole: str, sort: str, scope: Sequence[Reference], depth: int) -> str:
        if hole in _WORDS:
            return self._random.choice(_WORDS[hole])
        if hole == "any":
            hole = self._random.choice(SORTS)
        if hole == "rich":
            hole = self._random.choice(rich.RICH)
        if hole.startswith("leaf"):
            return self._leaf(hole[4:], scope)
        return self.make(sort if hole == "same" else hole, scope, depth)

    def _leaf(self, sort: str, scope: Sequence[Reference]) -> str:
        known = [r.text for r in scope if r.sort == sort]
        drawn = self._random.random()
        if known and drawn < 0.75:
            return self._random.choice(known)
        if drawn > 0.97:
            return f"CAST(NULL AS {TYPES[sort]})"
        return self._random.choice(LITERALS[sort])
