"""What a result must be like: `output.expect`, judged exactly and before anything is published.

What is judged is what was staged, by all ranks. Running the query a second time would cost as much again, and a query
need not give the same rows twice; staged files cannot be read back, for they are uploads that are not complete. So:

| expectation | judged by | memory |
|---|---|---|
| rows | the rows of all ranks' pending sets | none |
| notNull | the null counts in the footers of the staged files; of lists and structs, the kept columns | none |
| unique | the kept columns, grouped bucket by bucket (duplicates.py) | some three times 256 MiB |
| sql | the kept columns, by Polars (expect_sql.py) | one pass, or at most 1 GiB of columns |

Kept columns are taken from the bytes of each file as it goes to the store (kept.py), so that all engines are alike.
Rank 0 judges for all; it alone commits. Names, types and statements are checked before the query runs.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.api.status import MAX_EXPECTATIONS_SHOWN
from gpuquery.api.text import clean
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import dtypes
from gpuquery.runner.output import duplicates, hive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gpuquery.api.expect import Expectation
    from gpuquery.plan.plan import Plan
    from gpuquery.runner.output.expect_sql import SqlCheck

_OPERATORS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt, "==": operator.eq}


@dataclass(frozen=True)
class Staged:
    """What all ranks have staged, as far as expectations ask."""

    rows: int
    nulls: Mapping[str, int]
    """By column, for those that `Expectations.counted` names."""
    files: Sequence[Path]
    """Parquet files in scratch with the columns that `Expectations.columns` names, and as many rows."""
    folder: Callable[[], Path]
    """Makes an empty folder in scratch."""


class NotAsExpectedError(JobError):
    """A result of which an expectation does not hold."""

    def __init__(self, count: str, told: str, kept: str = "", *, process: int | None = None) -> None:
        """`count` says how many, `told` which ones and why, `kept` where its rows are, before what may be cut off."""
        words = f"{count}, and nothing was published" + (f"; {kept}" if kept else "")
        super().__init__(Failure.EXPECTATION_FAILED, f"{words}: {told}", process=process)
        self.count, self.told = count, told


class Expectations:
    """The expectations of a plan. False if there are none; `bind` comes before `judge`."""

    def __init__(self, plan: Plan) -> None:
        """Raise JobError(InvalidQuery) for SQL that does not parse."""
        self._all = tuple(plan.output.expect or ())
        self._sql: dict[int, SqlCheck] = {}
        for index, one in enumerate(self._all):
            if one.sql is not None:
                from gpuquery.runner.output.expect_sql import SqlCheck  # most results need no second statement

                self._sql[index] = SqlCheck(plan, one.sql, _place(index))
        self._schema = pl.Schema()
        self.columns: Sequence[str] = ()
        """Columns whose values are needed."""
        self.counted: Sequence[str] = ()
        """Columns whose nulls are needed."""

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def clock(self) -> str:
        """A function of the current time that one of them calls; empty if none does."""
        return next((check.clock for check in self._sql.values() if check.clock), "")

    def bind(self, schema: pl.Schema) -> None:
        """Raise JobError(UserError or InvalidQuery) for what cannot be asked of a result of this schema."""
        wrong: list[str] = []
        needed: dict[str, None] = {}
        counted: dict[str, None] = {}
        for index, one in enumerate(self._all):
            for name in (*(one.unique or ()), *(one.not_null or ())):
                if name not in schema:
                    wrong.append(f"{_place(index)} names {hive.lacking(name, list(schema))}")
            for name in filter(schema.__contains__, one.unique or ()):
                if schema[name].is_nested():
                    wrong.append(
                        f"{_place(index)}: unique cannot compare {name!r} of type {schema[name]}: name columns of "
                        "numbers, texts or times, or cast it to a text in the query"
                    )
            for name in filter(schema.__contains__, one.not_null or ()):
                (needed if schema[name].is_nested() else counted)[name] = None
            needed |= dict.fromkeys(one.unique or ())
        if wrong:
            raise JobError(Failure.USER_ERROR, "; ".join(wrong))
        for check in self._sql.values():
            check.bind(schema)
            needed |= dict.fromkeys(check.columns)
        if self._sql and not needed:
            needed[next(iter(schema))] = None  # count(*) reads no column, and a file needs one to have rows
        self._schema = schema
        self.columns, self.counted = list(needed), list(counted)

    def judge(self, staged: Staged) -> tuple[str, ...]:
        """Return what was checked and holds, each in a few words.

        Raises NotAsExpectedError that names all that do not hold; JobError(OutputLimit) for what cannot be checked.
        """
        failed: list[str] = []
        limits: list[str] = []
        held: list[str] = []
        for index, one in enumerate(self._all):
            try:
                wrong = self._wrong(index, one, staged)
            except JobError as exc:
                if exc.failure is not Failure.OUTPUT_LIMIT:
                    raise
                limits.append(exc.message)
                continue
            if wrong:
                failed.append(f"{_place(index)} ({one.words}): {wrong}")
            held.append(one.words + (f" ({staged.rows:,})" if one.rows else ""))
        told = "; ".join((*failed, *limits))
        if failed:
            raise NotAsExpectedError(f"{len(failed)} of {len(self._all)} expectations do not hold", told)
        if limits:
            raise JobError(Failure.OUTPUT_LIMIT, f"{told}; nothing was published")
        return tuple(held)

    def _wrong(self, index: int, one: Expectation, staged: Staged) -> str:
        if one.rows is not None:
            compare, number = _rows(one.rows)
            return "" if compare(staged.rows, number) else f"the result has {staged.rows:,} rows"
        if one.unique is not None:
            return _duplicates(duplicates.found(staged.files, one.unique, staged.folder()), staged.rows)
        if one.not_null is not None:
            found = [(name, self._nulls(name, staged)) for name in one.not_null]
            nulls = [f"{name} is null in {count:,} of {staged.rows:,} rows" for name, count in found if count]
            return ", ".join(nulls)
        return self._sql[index].judge(staged.files, {name: self._schema[name] for name in self.columns})

    def _nulls(self, name: str, staged: Staged) -> int:
        if name in staged.nulls:
            return staged.nulls[name]
        if not staged.files:
            return 0
        lf = pl.scan_parquet(list(staged.files), glob=False, hive_partitioning=False)
        return int(lf.select(dtypes.column(name).null_count()).collect(engine="streaming").item())


def shown(held: Sequence[str]) -> str:
    """Say in a few words what was checked and holds."""
    return clean(f"{len(held)} hold: {'; '.join(held)}", MAX_EXPECTATIONS_SHOWN) if held else ""


def _rows(text: str) -> tuple[Callable[[int, int], bool], int]:
    found = re.match(r"(>=|<=|==|>|<) ?([0-9]+)", text)
    assert found is not None  # the model has checked it
    return _OPERATORS[found[1]], int(found[2])


def _duplicates(found: duplicates.Duplicates, rows: int) -> str:
    if not found.keys:
        return ""
    keys = "1 key is" if found.keys == 1 else f"{found.keys:,} keys are"
    return (
        f"{keys} there more than once, in {found.rows:,} of {rows:,} rows; "
        f"{clean(found.example, duplicates.MAX_SHOWN)} in {found.times:,} of them"
    )


def _place(index: int) -> str:
    return f"output.expect[{index}]"
