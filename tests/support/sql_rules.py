"""Generated statements for the rules of the planner, and tables for them: what rules move, turn around or drop.

The expressions are few and plain, so that a difference is a rule's: products and conditions in WHERE, every kind of
join, sub-queries in every place, shared parts with a filter at each use, unions whose branches carry a constant.
"""

from __future__ import annotations

import datetime as dt
import itertools
from random import Random
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from gpuquery.runner.query.sql.rules import ColumnFacts, Statistics, TableFacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLUMNS = ("id", "k", "g", "n", "t", "d")
"""`id` is unique and never NULL, `k` and `g` are keys of few values, `n` is a number, `t` a text, `d` a date."""
TEXTS = ("s", "c", "w", "x")
COMPARE = ("=", "<>", "<", "<=", ">", ">=")


def tables(seed: str) -> dict[str, pa.Table]:
    """Return the tables `a`, `b` and `c` of some rows, and `e` of none."""
    random = Random(seed)
    return {name: _table(random, rows) for name, rows in (("a", 14), ("b", 9), ("c", 5), ("e", 0))}


def _table(random: Random, rows: int) -> pa.Table:
    def some(values: Sequence[object]) -> list[object]:
        return [None if random.random() < 0.15 else random.choice(values) for _ in range(rows)]

    days = [dt.date(2024, 1, day) for day in range(1, 6)]
    return pa.table(
        {
            "id": pa.array(range(rows), pa.int32()),
            "k": pa.array(some(range(4)), pa.int32()),
            "g": pa.array(random.choices(range(3), k=rows), pa.int64()),
            "n": pa.array(some(range(-5, 9)), pa.int32()),
            "t": pa.array(some(TEXTS), pa.string()),
            "d": pa.array(some(days), pa.date32()),
        }
    )


def statistics(of: Mapping[str, pa.Table]) -> Statistics:
    """Return what footers of the tables' files would tell."""
    return Statistics(
        {
            name: TableFacts(
                table.num_rows,
                {
                    column: ColumnFacts(
                        pc.min(table[column]).as_py(), pc.max(table[column]).as_py(), table[column].null_count
                    )
                    for column in COLUMNS
                },
            )
            for name, table in of.items()
        }
    )


class Statements:
    """Makes statements; equal seeds make equal ones."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)
        self._aliases = 0
        self._shared: list[str] = []

    def statement(self) -> str:
        """Return one more statement. Its rows have no order."""
        self._aliases = 0
        self._shared = []
        parts = []
        for name in ("p", "q")[: self._random.choice((0, 0, 1, 1, 2))]:
            parts.append(f"{name} AS ({self._derived()})")
            self._shared.append(name)
        prefix = f"WITH {', '.join(parts)} " if parts else ""
        return prefix + self._select(3)

    def _one(self, *options: str) -> str:
        return self._random.choice(options)

    def _maybe(self, share: float) -> bool:
        return self._random.random() < share

    def _alias(self) -> str:
        self._aliases += 1
        return f"r{self._aliases}"

    # Sources

    def _select(self, depth: int, outer: Sequence[str] = ()) -> str:
        """Return a SELECT of the six columns."""
        text, names = self._from(depth)
        where = self._where(names, outer, depth)
        if self._maybe(0.25):
            number = self._call(f"{self._any(names)}.n", self._any(names))
            calls = f"{number} AS n, min({self._any(names)}.t) AS t, max({self._any(names)}.d) AS d"
            first = self._any(names)
            keys = f"{first}.k, {first}.g"
            having = f" HAVING {self._one(f'{first}.g = 1', 'count(*) > 1', f'{first}.k > 0')}"
            end = f"{where} GROUP BY {keys}{having if self._maybe(0.4) else ''}"
            return f"SELECT count(*) AS id, {keys}, {calls} FROM {text}{end}"
        columns = ", ".join(f"{self._value(self._any(names), column)} AS {column}" for column in COLUMNS)
        return f"SELECT {'DISTINCT ' if self._maybe(0.1) else ''}{columns} FROM {text}{where}"

    def _call(self, column: str, other: str = "") -> str:
        decimal = f"CAST({column} AS DECIMAL(9, 1))"
        if other and self._maybe(0.3):
            return f"sum(CASE WHEN {self._simple(other)} THEN {decimal} ELSE {self._one('0', 'NULL')} END)"
        return self._one(f"sum({column})", f"count({column})", f"max({column})", f"sum({decimal})", f"avg({column})")

    def _value(self, name: str, column: str) -> str:
        if column == "n" and self._maybe(0.2):
            return f"coalesce({name}.n, {name}.k) + 1"
        if column == "t" and self._maybe(0.15):
            return f"CASE WHEN {name}.k = 1 THEN 's' ELSE {name}.t END"
        return f"{name}.{column}"

    def _any(self, names: Sequence[str]) -> str:
        return self._random.choice(names)

    def _source(self, depth: int) -> tuple[str, str]:
        alias = self._alias()
        if self._shared and self._maybe(0.5):
            return f"{self._random.choice(self._shared)} AS {alias}", alias
        if depth > 1 and self._maybe(0.35):
            return f"({self._derived(depth - 1)}) AS {alias}", alias
        return f"{self._one(*'aaaabbbbcce')} AS {alias}", alias

    def _from(self, depth: int) -> tuple[str, list[str]]:
        text, alias = self._source(depth)
        names = [alias]
        for _ in range(self._random.choice((0, 1, 1, 2, 3))):
            more, alias = self._source(depth)
            drawn = self._random.random()
            if drawn < 0.5:
                text = f"{text}, {more}"
            else:
                kind = self._one("JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
                last = names[-1]
                on = f"{self._tie(last, alias)}"
                if self._maybe(0.3):
                    on += f" AND {self._condition([last, alias])}"
                text = f"{text} {kind} {more} ON {on}" if ", " not in text else f"{text}, {more}"
            names.append(alias)
        return text, names

    def _derived(self, depth: int = 1) -> str:
        match self._random.randrange(7):
            case 0 | 1:
                branches = [self._branch(text) for text in ("s", "c", "w")[: self._random.choice((2, 3))]]
                return self._one(" UNION ALL ", " UNION ALL ", " UNION ").join(branches)
            case 2:
                return f"{self._branch()} {self._one('EXCEPT', 'INTERSECT', 'EXCEPT ALL')} {self._branch()}"
            case 3:
                window = "sum(n) OVER (PARTITION BY g, k)"
                return f"SELECT id, k, g, {window} AS n, t, d FROM {self._one('a', 'b')}"
            case 4:
                return f"SELECT * FROM {self._one('a', 'b')} ORDER BY id LIMIT {self._random.randint(0, 6)}"
            case 5:
                sets = self._one("k, g", "ROLLUP (k, g)", "GROUPING SETS ((k, g), (k))")
                return (
                    f"SELECT count(*) AS id, k, g, {self._call('n')} AS n, min(t) AS t, max(d) AS d FROM "
                    f"{self._one('a', 'b')} GROUP BY {sets}"
                )
            case _:
                return self._select(depth)

    def _branch(self, text: str = "") -> str:
        name = self._one("a", "b", "c")
        return f"SELECT id, k, g, n, {repr(text) if text else 't'} AS t, d FROM {name}{self._where([name], (), 0)}"

    # Conditions

    def _tie(self, one: str, other: str) -> str:
        column = self._one("k", "k", "g", "id", "t", "d")
        operator = self._one("=", "=", "=", "=", "=", "=", "IS NOT DISTINCT FROM", "<", "<>")
        return f"{one}.{column} {operator} {other}.{column}"

    def _simple(self, name: str) -> str:
        drawn = self._random.randrange(8)
        if drawn < 2:
            return f"{name}.t = {self._random.choice(TEXTS)!r}"
        if drawn == 2:
            return f"{name}.{self._one('k', 'g', 'n')} IN ({self._random.randint(0, 2)}, {self._random.randint(2, 4)})"
        if drawn == 3:
            return f"{name}.{self._one('k', 'n', 't', 'd')} IS {self._one('NULL', 'NOT NULL')}"
        if drawn == 4:
            return f"{name}.d {self._one(*COMPARE)} date '2024-01-0{self._random.randint(1, 5)}' + interval 1 day"
        return f"{name}.{self._one('k', 'g', 'n', 'id')} {self._one(*COMPARE)} {self._random.randint(-1, 5)}"

    def _condition(self, names: Sequence[str], depth: int = 2) -> str:
        drawn = self._random.random()
        if depth == 0 or drawn < 0.45:
            return self._simple(self._any(names))
        if drawn < 0.55 and len(names) > 1:
            one, other = self._random.sample(list(names), 2)
            return self._tie(one, other)
        if drawn < 0.6:
            return f"NOT ({self._condition(names, depth - 1)})"
        if drawn < 0.64:
            return self._one("1 = 0", "NULL", "TRUE", "TRUE", "1 < 2", "'s' <> 'c'")
        if drawn < 0.75:
            factor = self._condition(names, 0)
            return " OR ".join(f"({factor} AND {self._condition(names, depth - 1)})" for _ in range(2))
        word = self._one(" AND ", " OR ", " OR ")
        return f"({word.join(self._condition(names, depth - 1) for _ in range(2))})"

    def _where(self, names: Sequence[str], outer: Sequence[str], depth: int) -> str:
        parts = [self._tie(one, other) for one, other in itertools.pairwise(names) if self._maybe(0.65)]
        parts += [self._tie(self._any(names), self._any(outer))] if outer else []
        parts += [self._condition(names) for _ in range(self._random.choice((0, 0, 1, 1, 2)))]
        if outer and self._maybe(0.3):
            parts.append(self._condition([*names, *outer], 1))
        if depth > 1:
            parts += [self._tested(names) for _ in range(self._random.choice((0, 0, 0, 1, 1, 2)))]
        return f" WHERE {' AND '.join(f'({part})' for part in parts)}" if parts else ""

    def _tested(self, names: Sequence[str]) -> str:
        """Return a condition with a sub-query, correlated or not."""
        outer = [self._any(names)] if self._maybe(0.7) else []
        text, inner = self._from(1)
        name, where = self._any(inner), self._where(inner, outer, 1)
        column, value = self._one("k", "g", "n", "t"), self._any(names)
        test = self._one(
            f"EXISTS (SELECT 1 FROM {text}{where})",
            f"NOT EXISTS (SELECT 1 FROM {text}{where})",
            f"{value}.{column} IN (SELECT {name}.{column} FROM {text}{where})",
            f"{value}.{column} NOT IN (SELECT {name}.{column} FROM {text}{where})",
            f"{value}.n {self._one(*COMPARE)} (SELECT {self._one('max', 'min', 'count')}({name}.n) FROM {text}{where})",
        )
        return test if self._maybe(0.75) else f"{test} OR {self._simple(self._any(names))}"
