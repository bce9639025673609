"""What is known of the inputs before the query runs: rows and bounds of columns, as footers of parquet files tell.

Everything is optional. Numbers of rows steer the order of joins only, and may be wrong. Bounds and counts of NULLs must
be right where they are given: rules conclude from them that a column has no NULL, or that a sum cannot overflow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ColumnFacts:
    """What is known of one column of an input."""

    low: Any = None
    """No value is smaller: an int, Decimal, date, datetime or str; None if unknown."""
    high: Any = None
    nulls: int | None = None
    """How many values are NULL; None if unknown."""
    distinct: int | None = None
    """At most so many different values; None if unknown."""


@dataclass(frozen=True)
class TableFacts:
    """What is known of one input."""

    rows: int | None = None
    columns: Mapping[str, ColumnFacts] = field(default_factory=dict)


@dataclass(frozen=True)
class Statistics:
    """What is known of the inputs, by their names."""

    tables: Mapping[str, TableFacts] = field(default_factory=dict)

    def table(self, name: str) -> TableFacts:
        """Return what is known of an input; nothing for one that is not there."""
        return self.tables.get(name, _UNKNOWN)

    def column(self, table: str, name: str) -> ColumnFacts:
        """Return what is known of a column; nothing for one that is not there."""
        return self.table(table).columns.get(name, _NO_FACTS)


_UNKNOWN = TableFacts()
_NO_FACTS = ColumnFacts()
NONE = Statistics()
