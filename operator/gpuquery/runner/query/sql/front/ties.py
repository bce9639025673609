"""FETCH FIRST n ROWS WITH TIES, which DuckDB 2.0 does not support: it is bound as ONLY, and our plan restores the ties.

The number of rows is bound as one that no other LIMIT has, by which the plan's own is known again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front.source import Replacement, byte_place
from gpuquery.runner.query.sql.plan import Limit, Sort

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.front.tokens import Token

_WAY_OUT = "use QUALIFY rank() OVER (ORDER BY ...) <= n"
_FIRST = 2**62
_MOST = 2**32
"""The rows of the clause at place i of the text are bound as _FIRST + i * _MOST and its own number."""


@dataclass
class Ties:
    """The clauses of one statement."""

    text: str
    places: list[tuple[int, int]] = field(default_factory=list)
    """Where they stand, in bytes."""
    met: set[int] = field(default_factory=set)

    def replacements(self, tokens: list[Token]) -> list[Replacement]:
        """Return the replacements for WITH TIES and the number before it."""
        found = []
        for i, token in enumerate(tokens):
            if token.lower != "ties" or i < 3 or tokens[i - 1].lower != "with":
                continue
            if tokens[i - 2].lower not in ("row", "rows"):
                continue
            first = next((k for k in range(i - 3, -1, -1) if tokens[k].lower in ("first", "next")), None)
            if first is None:
                continue
            number = _FIRST + len(self.places) * _MOST
            self.places.append((tokens[i - 1].start, token.end))
            if first == i - 3:  # without a number it is one row
                found.append(Replacement(tokens[i - 2].start, token.end, f"{number + 1} ROW ONLY"))
                continue
            found.append(Replacement(tokens[first + 1].start, tokens[first + 1].start, f"({number} + "))
            found.append(Replacement(tokens[i - 3].end, tokens[i - 3].end, ")"))
            found.append(Replacement(tokens[i - 1].start, token.end, "ONLY"))
        return found

    def limit(self, made: Limit) -> Limit:
        """Return a LIMIT of the plan, with its ties if it is one of these."""
        if made.count is None or not self.places or made.count < _FIRST:
            return made
        at, count = divmod(made.count - _FIRST, _MOST)
        if at >= len(self.places):
            return made
        self.met.add(at)
        if not isinstance(made.input, Sort):
            raise SqlError(f"WITH TIES needs an ORDER BY; or {_WAY_OUT}", byte_place(self.text, *self.places[at]))
        return Limit(made.input, count, made.offset, ties=made.input.keys)

    def check(self) -> None:
        """Raise SqlError for a clause that became no LIMIT of the plan: DuckDB counts the rows of each outer row."""
        for at in range(len(self.places)):
            if at not in self.met:
                words = "WITH TIES is not supported in a sub-query that uses the row outside of it"
                raise SqlError(f"{words}: {_WAY_OUT}", byte_place(self.text, *self.places[at]))
