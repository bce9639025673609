"""Statements from the templates of `sql_productions.sql`, which says how they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

WORDS: Mapping[str, tuple[str, ...]] = {
    "end": ("ASC", "DESC", "ASC NULLS FIRST", "ASC NULLS LAST", "DESC NULLS FIRST", "DESC NULLS LAST"),
    "set": ("UNION", "UNION ALL", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"),
    "all": ("", "ALL"),
    "join": ("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"),
    "leftjoin": ("JOIN", "LEFT JOIN"),
    "asofjoin": ("ASOF JOIN", "ASOF LEFT JOIN"),
    "lateral": ("JOIN LATERAL", "LEFT JOIN LATERAL"),
    "asofop": (">=", ">", "<=", "<"),
    "notdistinct": ("=", "IS NOT DISTINCT FROM"),
    "semi": ("SEMI JOIN", "ANTI JOIN"),
    "exists": ("EXISTS", "NOT EXISTS"),
    "in": ("IN", "NOT IN"),
    "and": ("AND", "OR"),
    "op": ("=", "<>", "<", "<=", ">", ">="),
    "quantified": ("= ANY", "> ALL", "<> ALL", "<= ANY", "<> ANY", ">= ALL"),
    "sum": ("sum", "max", "count", "min"),
    "percent": ("0", "10", "33.3", "100"),
    "small": ("0", "1", "2", "-3", "5"),
    "positive": ("1", "2", "3", "5"),
    "row": tuple(map(str, range(1, 13))),
}
HOLE = re.compile(r"\{(\w+)(?:@([\w+]+))?\}")
TABLE = re.compile(r"\{([s-v])(?::(\w+))?\}")


class Production(NamedTuple):
    """A shape of statements."""

    kind: str
    text: str
    columns: Mapping[str, Mapping[str, str]]
    """Sorts of the columns of derived tables, by alias and name."""
    portable: bool


def productions() -> list[Production]:
    """Read the templates."""
    found: list[Production] = []
    kind, columns, lines = "", {}, []
    for line in (Path(__file__).parent / "sql_productions.sql").read_text().partition("\n\n")[2].splitlines():
        if line.startswith("-- # "):
            kind = line[5:].partition(":")[0]
        elif line.startswith("-- "):
            columns = _columns(line[3:])
        elif line:
            lines.append(line.strip())
        if line.endswith(";"):
            text = " ".join(lines).rstrip(";")
            found.append(Production(kind, text.lstrip("!"), columns, not text.startswith("!")))
            columns, lines = {}, []
    return found


def _columns(text: str) -> dict[str, dict[str, str]]:
    tables = (part.partition(": ") for part in text.split("; "))
    return {alias: dict(column.split() for column in said.split(", ")) for alias, _, said in tables}  # type: ignore[misc]
