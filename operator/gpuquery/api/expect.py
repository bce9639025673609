"""What a result must be like before it is published: `output.expect`."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.alias_generators import to_camel

from gpuquery.api.schema import Model, Rule
from gpuquery.api.text import clean

MAX_EXPECTATIONS = 32
MAX_UNIQUE_COLUMNS = 16
MAX_NOT_NULL_COLUMNS = 64
MAX_EXPECTATION_SQL = 16_384
MAX_WORDS = 120
"""Characters of one expectation in messages and records."""
ROWS = r"^((>=|<) ?0*[1-9][0-9]{0,17}|(>|<=|==) ?[0-9]{1,18})$"
"""A comparison of a number of rows that can hold and can fail: `>= 0` always holds, `< 0` never does."""
_KINDS = ("rows", "unique", "not_null", "sql")
_COLUMN = Annotated[str, Field(min_length=1, max_length=256)]


class Expectation(Model):
    """One check of the whole result: exactly one of `rows`, `unique`, `notNull` and `sql`."""

    rows: Annotated[str, Field(max_length=32)] | None = None
    """How many rows the result must have, in quotes: `">= 1"`, `"> 0"`, `"<= 1000"`, `"< 1000"` or `"== 50"`."""
    unique: Annotated[tuple[_COLUMN, ...], Field(min_length=1, max_length=MAX_UNIQUE_COLUMNS)] | None = None
    """No two rows may have the same values in these columns. Rows with a null in one of them do not count, as with
    UNIQUE in SQL. Not for lists and structs."""
    not_null: Annotated[tuple[_COLUMN, ...], Field(min_length=1, max_length=MAX_NOT_NULL_COLUMNS)] | None = None
    """None of these columns may have a null."""
    sql: Annotated[str, Field(min_length=1, max_length=MAX_EXPECTATION_SQL, pattern=r"\S")] | None = None
    """A SELECT over the one table `result` that returns one boolean, which must be true:
    `SELECT count(*) = 0 FROM result WHERE amount < 0`. It is in the dialect of the query, or in DuckDB's if that is
    Python, and can use the query's parameters."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"[{', '.join(f'has(self.{to_camel(kind)})' for kind in _KINDS)}].filter(x, x).size() == 1",
            lambda self: sum(getattr(self, kind) is not None for kind in _KINDS) == 1,
            "an expectation is exactly one of rows, unique, notNull and sql: make an entry of the list for each",
        ),
        Rule(
            f"!has(self.rows) || self.rows.matches('{ROWS}')",
            lambda self: self.rows is None or bool(re.match(ROWS, self.rows)),
            "rows compares with a whole number, so that it can hold and can fail: write \">= 1\", \"> 0\", "
            "\"<= 1000\", \"< 1000\" or \"== 50\"",
            field_path=".rows",
        ),
    )  # fmt: skip

    @property
    def words(self) -> str:
        """What it says, for messages, records and `gpuquery plan`."""
        if self.rows is not None:
            return f"rows {self.rows}"
        if self.sql is not None:
            return clean("sql " + " ".join(self.sql.split()), MAX_WORDS)
        word = "notNull" if self.unique is None else "unique"
        return clean(f"{word} [{', '.join(self.unique or self.not_null or ())}]", MAX_WORDS)
