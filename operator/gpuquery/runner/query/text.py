"""A query's text with its lines: where in it something stands, as its author counts."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError


@dataclass(frozen=True)
class Text:
    """A text with line numbers."""

    text: str
    _lines: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lines", [0, *(m.end() for m in re.finditer("\n", self.text))])

    def at(self, offset: int) -> str:
        """Return `line 3, column 12` of an offset; both count from 1."""
        line = bisect.bisect_right(self._lines, offset)
        return f"line {line}, column {offset - self._lines[line - 1] + 1}"

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a line and a column that count from 1."""
        return self._lines[min(max(line, 1), len(self._lines)) - 1] + max(column, 1) - 1


def invalid(message: str) -> JobError:
    """Return the error for a query that can never run."""
    return JobError(Failure.INVALID_QUERY, message)
