"""A table of every type and generated windows over it: function, partition, order, frame and what it leaves out."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from functools import cache
from typing import Any

import pyarrow as pa

ROWS = 60
_NAN, _INF = float("nan"), float("inf")
_MOMENTS = [dt.datetime(2020, 1, 31, 10), dt.datetime(2020, 2, 1), dt.datetime(2020, 3, 1, 1, 1, 1, 5)]
_COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "g": (pa.int32(), [1, 2, 3]),
    "h": (pa.string(), ["a", "b"]),
    "k": (pa.int32(), [1, 2, 3, 4, 5, 7, 9]),
    "x": (pa.int32(), [1, 2, 3, -5, 10, 2**31 - 1, -(2**31)]),
    "b": (pa.int64(), [1, 2, 2**63 - 1, -(2**63), 5]),
    "u": (pa.uint64(), [0, 1, 2**64 - 1, 7]),
    "f": (pa.float64(), [1.5, _NAN, -0.0, 0.0, 2.25, _INF, -7.5, 3.25]),
    "e": (pa.float64(), [0.1, 0.2, 0.3, 7.7, -2.5]),
    "d": (pa.decimal128(10, 2), [Decimal("1.10"), Decimal("-2.25"), Decimal("99.99"), Decimal("0.05")]),
    "w": (pa.decimal128(38, 2), [Decimal(f"{'9' * 35}.99"), Decimal("1.00"), Decimal("-3.50")]),
    "s": (pa.string(), ["b", "a", "", "é", "zz", "a"]),
    "t": (pa.date32(), [dt.date(2020, 1, 31), dt.date(2020, 2, 1), dt.date(2020, 3, 1), dt.date(1999, 12, 31)]),
    "ts": (pa.timestamp("us"), _MOMENTS),
    "o": (pa.bool_(), [True, False]),
}


@cache
def tables(seed: int, rows: int = ROWS) -> dict[str, pa.Table]:
    """Return a table `t`: `i` is unique, `n` a small number without NULLs, each other column has a fifth of NULLs."""
    chance = random.Random(seed)
    columns = {
        "i": pa.array(range(rows), pa.int64()),
        "n": pa.array([chance.randrange(4) for _ in range(rows)], pa.int32()),
    }
    for name, (kind, values) in _COLUMNS.items():
        drawn = [None if chance.random() < 0.2 else chance.choice(values) for _ in range(rows)]
        columns[name] = pa.array(drawn, kind)
    return {"t": pa.table(columns)}


_ANY = [*_COLUMNS, "n"]
_NUMBERS = ["x", "b", "u", "f", "e", "d", "n"]
_SUMS = (
    "count(*)", "count({c})", "sum({n})", "avg({n})", "min({c})", "max({c})", "bool_and(o)", "bool_or(o)",
    "count_if(o)", "count(*) FILTER (WHERE x > 1)", "sum({n}) FILTER (WHERE o)", "count(DISTINCT {c})",
    "sum(DISTINCT x)",
    "product(e)", "median(x)", "quantile_disc({c}, 0.3)", "arg_max(i, k ORDER BY i)",
)  # fmt: skip
_PICKED = (
    "first_value({c})", "last_value({c})", "nth_value({c}, 2)", "nth_value({c}, n)", "first_value({c} IGNORE NULLS)",
    "last_value({c} IGNORE NULLS)", "nth_value({c}, 2 IGNORE NULLS)", "any_value({c})", "list(i)", "string_agg(s, '-')",
    "first_value(s ORDER BY s DESC, i)",
)  # fmt: skip
_DISTANCES = {
    "t": ("INTERVAL 1 DAY", "INTERVAL 1 MONTH", "INTERVAL 0 DAY"),
    "ts": ("INTERVAL 12 HOUR", "INTERVAL 30 DAY"),
    "f": ("1.5", "0"),
    "d": ("1", "0.5"),
}
_EXCLUDES = ("", "", "", " EXCLUDE CURRENT ROW", " EXCLUDE GROUP", " EXCLUDE TIES", " EXCLUDE NO OTHERS")


class Windows:
    """Calls by a seed. Where the order of ties would show, the order has a unique end."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def call(self) -> str:
        """Return a call over a window."""
        pick = self._chance.choice
        picked = self._chance.random() < 0.4
        function = pick(_PICKED if picked else _SUMS).format(c=pick(_ANY), n=pick(_NUMBERS))
        unit = pick(("ROWS", "RANGE", "GROUPS", None))
        key, frame = self._frame(unit, unique=picked or unit == "ROWS")
        order = f"{key} {pick(('ASC', 'DESC'))} {pick(('', 'NULLS FIRST', 'NULLS LAST'))}"
        if picked or unit == "ROWS":
            order += "" if key == "i" else ", i"
        elif unit == "GROUPS" and self._chance.random() < 0.3:
            order += ", n DESC"
        partition = pick(("", "PARTITION BY g ", "PARTITION BY g, h ", "PARTITION BY f ", "PARTITION BY 1 "))
        return f"{function} OVER ({partition}ORDER BY {order} {frame})"

    def _frame(self, unit: str | None, *, unique: bool) -> tuple[str, str]:
        """Return the key of the order and the frame."""
        pick = self._chance.choice
        if unit is None:
            return pick(("k", "t", "f", "d", "s")), ""
        far = unit == "RANGE" and self._chance.random() < 0.7
        key = pick(
            ("i",) if far and unique else ("k", "t", "ts", "f", "d") if unit == "RANGE" else ("k", "t", "f", "s", "d")
        )
        distances = _DISTANCES.get(key, ("0", "1", "2", "n")) if unit == "RANGE" else ("0", "1", "2", "3", "n", "5")
        bounds = ["UNBOUNDED PRECEDING", "CURRENT ROW", "UNBOUNDED FOLLOWING"]
        if unit != "RANGE" or far:
            bounds += [f"{distance} {way}" for distance in distances for way in ("PRECEDING", "FOLLOWING")]
        while True:
            start, end = pick(bounds), pick(bounds)
            if _place(start) <= _place(end) and start != bounds[2] and end != bounds[0]:
                return key, f"{unit} BETWEEN {start} AND {end}{pick(_EXCLUDES)}"


def statement(calls: list[str]) -> str:
    """Return a statement with calls, and the column by which rows are compared."""
    return f"SELECT i, {', '.join(f'{call} AS r{at}' for at, call in enumerate(calls))} FROM t"


def _place(bound: str) -> int:
    return 1 if bound == "CURRENT ROW" else 0 if bound.endswith("PRECEDING") else 2
