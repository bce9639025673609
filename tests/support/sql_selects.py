"""Select statements of the kind that sqllogictest made known: five small columns of numbers, and much said about them.

Expressions, CASE, BETWEEN, EXISTS and comparisons with averages over one table of thirty rows, ORDER BY by position;
signs, casts and NULLs in and around aggregates and groups; chains of joins of the table with itself.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pyarrow as pa

ROWS = 30
COLUMNS = "abcde"
_VALUES = (
    "{c}", "{c}", "{c}-{c}", "{c}+{c}*2", "{c}+{c}*2+{c}*3", "({c}+{c}+{c}+{c}+{c})/5", "abs({c})", "abs({c}-{c})",
    "CASE WHEN {c}<{c}-3 THEN 111 WHEN {c}<={c} THEN 222 WHEN {c}<{c}+3 THEN 333 ELSE 444 END",
    "CASE {c}+1 WHEN {c} THEN 111 WHEN {c} THEN 222 WHEN {c} THEN 333 ELSE 555 END",
    "CASE WHEN {c}>(SELECT avg({c}) FROM t1) THEN {c}*2 ELSE {c}*10 END", "{n}", "-{c}", "coalesce({c}, {n})",
    "(SELECT count(*) FROM t1 AS x WHERE x.b<t1.b)", "(SELECT max(x.{p}) FROM t1 AS x WHERE x.{p}<t1.{p})",
    "nullif({c}, {c})", "{c}%7", "{c}//3", "CAST({c} AS VARCHAR)||'-'||CAST({n} AS VARCHAR)",
)  # fmt: skip
_CONDITIONS = (
    "{c}>{c}", "{c}={c}", "{c}<>{c}-1", "{c}>{c}-2 AND {c}<{c}+2", "{c} BETWEEN {c}-1 AND {c}+3", "{c} IS NULL",
    "({c}>{c} OR {c} IS NULL)", "NOT ({c}<{n})", "{c} NOT BETWEEN 110 AND 150", "({c}<=112 OR {c} BETWEEN 120 AND 180)",
    "EXISTS(SELECT 1 FROM t1 AS x WHERE x.{p}<t1.{p})", "NOT EXISTS(SELECT 1 FROM t1 AS x WHERE x.{p}=t1.{p}+1)",
    "{c} IN ({n}, {n}, NULL)", "{c} NOT IN ({n}, {n})", "{c} IN (SELECT {c} FROM t1 WHERE {c}>{n})",
    "{c}>(SELECT avg({c}) FROM t1)", "coalesce({c}, {n})<>0",
)  # fmt: skip
_AGGREGATES = (
    "count(*)", "-count(*)*{n}", "+sum({c})", "-sum(DISTINCT {c})+{n}", "max(-{c})*2", "min(DISTINCT {c})-{n}",
    "count(DISTINCT {c})", "sum(+{c}+-{n})", "coalesce(max({c}), -{n})", "nullif(count(*), 3)", "{n}%count(*)",
    "-CASE WHEN NULL IS NULL THEN count(*) ELSE {n} END", "min({n})", "sum(-{n})", "max(ALL {c})",
    "CAST(sum({c}) AS BIGINT)//-{n}", "CAST(avg({c}) AS INTEGER)", "sum(CAST({c} AS DOUBLE))", "count(-{c}*+{c})",
    "CASE -max({c}) WHEN {n} THEN NULL WHEN -{n} THEN 1 ELSE min({c}) END", "abs(min(-{c}))",
)  # fmt: skip
_HAVINGS = (
    "", "", " HAVING NOT (NULL IS NOT NULL)", " HAVING NULL IS NULL", " HAVING -{k}<=+{n}", " HAVING count(*)>1",
    " HAVING NOT -{n} BETWEEN {k} AND {n}", " HAVING max({c}) IS NOT NULL", " HAVING {k} NOT IN ({n}, -{n}, NULL)",
    " HAVING NULL<>{n}",
)  # fmt: skip
NULLS = 0.1


def table(seed: int) -> pa.Table:
    """Return the thirty rows; numbers are close together, so that comparisons hold for some, and some are NULL."""
    random = Random(f"{seed} selects")

    def drawn() -> int | None:
        return None if random.random() < NULLS else random.randint(100, 250)

    return pa.table({name: pa.array([drawn() for _ in range(ROWS)], pa.int32()) for name in COLUMNS})


def statement(random: Random) -> str:
    """Return one statement over `t1`."""
    return random.choice((_rows, _rows, _groups, _whole, _chain))(random)


def _groups(random: Random) -> str:
    keys = random.sample(COLUMNS, random.choice((1, 1, 2)))
    calls = [_filled(one, random) for one in random.sample(_AGGREGATES, random.randint(0, 2))]
    having = _filled(random.choice(_HAVINGS).replace("{k}", keys[0]), random)
    distinct = random.choice(("", "DISTINCT "))
    outputs = [f"{random.choice(('', '-', '+'))}{key}*{random.randint(1, 9)}" for key in keys]
    return f"SELECT {distinct}{', '.join([*outputs, *calls])} FROM t1 AS cor0 GROUP BY {', '.join(keys)}{having}"


def _whole(random: Random) -> str:
    calls = [_filled(one, random) for one in random.sample(_AGGREGATES, random.randint(1, 4))]
    test = random.choice(("", " WHERE NULL IS NOT NULL", f" WHERE {_filled(random.choice(_CONDITIONS), random)}"))
    return f"SELECT {', '.join(calls)} FROM t1{test}"


def _chain(random: Random) -> str:
    """Join the table with itself, each to the one before, and one of them to constants."""
    names = [f"x{number}" for number in range(random.randint(2, 6))]
    tables = ", ".join(f"t1 AS {name}" for name in random.sample(names, len(names)))
    ties = [f"{a}.{random.choice(COLUMNS)}={b}.{random.choice(COLUMNS)}" for a, b in pairwise(names)]
    few = ", ".join(str(random.randint(100, 250)) for _ in "abcdef")
    known = f"{random.choice(names)}.{random.choice(COLUMNS)} IN ({few})"
    values = ", ".join(f"{name}.{random.choice(COLUMNS)}" for name in names)
    return f"SELECT {values} FROM {tables} WHERE {' AND '.join(random.sample([*ties, known], len(ties) + 1))}"


def _rows(random: Random) -> str:
    values = [_filled(value, random) for value in random.sample(_VALUES, random.randint(1, 6))]
    labelled = [f"{value} AS x{at}" if random.random() < 0.3 else value for at, value in enumerate(values)]
    conditions = [_filled(one, random) for one in random.sample(_CONDITIONS, random.randint(0, 4))]
    junction = random.choice((" AND ", " OR "))
    where = f" WHERE {junction.join(conditions)}" if conditions else ""
    places = ", ".join(str(place) for place in random.sample(range(1, len(values) + 1), len(values)))
    order = f" ORDER BY {places}" if random.random() < 0.6 else ""
    return f"SELECT {', '.join(labelled)} FROM t1{where}{order}"


def _filled(template: str, random: Random) -> str:
    while "{" in template:
        template = template.replace("{p}", random.choice(COLUMNS))
        template = template.replace("{c}", random.choice(COLUMNS), 1).replace("{n}", str(random.randint(100, 250)), 1)
    return template
