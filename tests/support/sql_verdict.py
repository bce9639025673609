"""One statement by GpuQuery and by DuckDB over the same parquet files, and what became of it."""

from __future__ import annotations

import contextlib
import re
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import polars as pl
import pyarrow.parquet as pq

from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.prepare import Prepared
from gpuquery.runner.query.sql.rules import ColumnFacts, Statistics, TableFacts
from tests.support import duck, sql
from tests.support.postgres import Postgres, PostgresError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

SHOWN = 8


class Outcome(StrEnum):
    """What became of a statement."""

    EQUAL = "equal"
    BOTH_FAIL = "both fail"
    REFUSED = "refused"
    """By us, when it was planned, with a message of our own; DuckDB answers."""
    WRONG = "wrong"
    FAILS = "fails"
    """Ours ends with an error that has no words of ours, while DuckDB answers."""
    EARLY = "fails early"
    """Ours ends with one in its author's words, while DuckDB answers: it did not compute the value, as no row of the
    other side of a join is there, or as a row had been left out before. Rare, or something is wrong."""
    WORDLESS = "fails without words"
    """Both end with an error, and ours is not one that its author could read."""
    ACCEPTS = "accepts"
    """Ours answers where DuckDB ends with an error."""


GOOD = (Outcome.EQUAL, Outcome.BOTH_FAIL)
DIFFERENT = (Outcome.WRONG, Outcome.FAILS, Outcome.WORDLESS, Outcome.ACCEPTS)


class Verdict(NamedTuple):
    """What became of a statement, and the error or the rows that differ."""

    outcome: Outcome
    detail: str = ""

    @property
    def reason(self) -> str:
        """The detail without names and numbers, so that like things can be counted."""
        line = self.detail.partition("\n")[0]
        return re.sub(r"\s+", " ", re.sub(r"\"[^\"]*\"|'[^']*'|`[^`]*`|\d+", "…", line))[:110]


class Answer(NamedTuple):
    """Rows, names and types of a result."""

    rows: list[tuple[Any, ...]]
    names: list[str]
    types: list[Any]


class Engines:
    """GpuQuery and DuckDB over the same files.

    `loaded`: DuckDB has the rows in tables of its own. From parquet DuckDB 2.0.1 leaves out the NaNs that a condition
    asks for, `isnan(d)`, because the bounds in a footer do not tell of them.
    """

    def __init__(self, files: Mapping[str, Path], *, loaded: bool = False) -> None:
        self.files = files
        self.statistics = statistics(files)
        self.duckdb = duck.connect()
        self.duckdb.execute("SET threads = 2")
        for name, path in files.items():
            kind = "TABLE" if loaded else "VIEW"
            self.duckdb.execute(f"CREATE {kind} \"{name}\" AS FROM read_parquet('{path}')")

    def frames(self) -> dict[str, pl.LazyFrame]:
        """Return the inputs as the runner scans them."""
        return {name: pl.scan_parquet(path) for name, path in self.files.items()}

    def planned(self, text: str) -> pl.LazyFrame:
        """Return the lazy result of a statement, by the steps that the product takes. Raises JobError."""
        prepared = Prepared(text, dialect="duckdb", inputs=list(self.files), values={})
        return prepared.plan(self.frames(), now=sql.NOW, target=CPU, statistics=self.statistics).frame

    def ours(self, text: str) -> Answer:
        """Run a statement as the `cpu` engine does. Raises JobError, or what Polars raises."""
        frame = self.planned(text).collect(engine="streaming")
        return Answer(frame.rows(), frame.columns, frame.dtypes)

    def theirs(self, text: str) -> Answer:
        """Run a statement by DuckDB. Raises duckdb.Error."""
        relation = self.duckdb.sql(text)
        return Answer(relation.fetchall(), relation.columns, relation.types)

    def verdict(self, text: str, *, theirs: str | None = None) -> Verdict:
        """Return what becomes of a statement; `theirs` is DuckDB's text for it, if another."""
        want: Answer | Exception
        try:
            want = self.theirs(theirs or text)
        except (duckdb.Error, PostgresError) as error:
            want = error
        try:
            got = self.ours(text)
        except JobError as error:
            refused = Outcome.BOTH_FAIL if isinstance(want, Exception) else Outcome.REFUSED
            return Verdict(refused, str(error))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            return _failed(error, isinstance(want, Exception))
        if isinstance(want, Exception):
            return Verdict(Outcome.ACCEPTS, f"the other: {str(want).partition(chr(10))[0]}")
        return compared(got, want, ordered=sql.is_ordered(text))


class AgainstPostgres(Engines):
    """The same, with PostgreSQL in the place of DuckDB, which still tells what types the columns have."""

    def __init__(self, files: Mapping[str, Path], postgres: Postgres) -> None:
        super().__init__(files)
        self.postgres = postgres

    def theirs(self, text: str) -> Answer:
        """Run a statement by PostgreSQL. Raises PostgresError."""
        relation = self.duckdb.sql(text)
        rows = self.postgres.rows(text, relation.limit(0).pl().dtypes)
        return Answer(rows, relation.columns, relation.types)


def statistics(files: Mapping[str, Path]) -> Statistics:
    """Return what the footers of files tell."""
    return Statistics({name: _facts(pq.ParquetFile(path).metadata) for name, path in files.items()})


def _facts(footer: Any) -> TableFacts:
    columns = {}
    for at in range(footer.num_columns):
        parts = [footer.row_group(group).column(at) for group in range(footer.num_row_groups)]
        found = [part.statistics for part in parts if part.statistics is not None and "." not in part.path_in_schema]
        if parts and len(found) == len(parts) and all(one.has_min_max and one.has_null_count for one in found):
            with contextlib.suppress(ValueError):  # Python has no timestamps of nanoseconds
                low, high = min(one.min for one in found), max(one.max for one in found)
                columns[parts[0].path_in_schema] = ColumnFacts(low, high, sum(one.null_count for one in found))
    return TableFacts(footer.num_rows, columns)


def _failed(error: BaseException, both: bool) -> Verdict:
    from gpuquery.runner.query.sql.compile import failures

    told = failures.decoded_failure(error)
    if told is None:
        outcome = Outcome.WORDLESS if both else Outcome.FAILS
        return Verdict(outcome, f"{type(error).__name__}: {str(error)[:400]}")
    return Verdict(Outcome.BOTH_FAIL if both else Outcome.EARLY, told[0])


def compared(got: Answer, want: Answer, *, ordered: bool = False) -> Verdict:
    """Compare names, types and rows."""
    if got.names != want.names and len(set(want.names)) == len(want.names):  # ours are unique, as a file needs it
        return Verdict(Outcome.WRONG, f"names {got.names}, the other's {want.names}")
    kinds = [
        f"{name}: {mine}, DuckDB {theirs}"
        for name, mine, theirs in zip(*got[1:], want.types, strict=True)
        if not holds(mine, str(theirs))
    ]
    if kinds:
        return Verdict(Outcome.WRONG, f"types: {'; '.join(kinds)}")
    if sql.same(got.rows, want.rows, ordered=ordered):
        return Verdict(Outcome.EQUAL)
    return Verdict(Outcome.WRONG, shown(got.rows, want.rows))


def shown(got: Sequence[Any], want: Sequence[Any]) -> str:
    """Return the rows that only one of two results has."""
    mine, theirs = list(map(repr, got)), list(map(repr, want))
    only = [row for row in mine if row not in theirs][:SHOWN], [row for row in theirs if row not in mine][:SHOWN]
    lines = [*(f"  ours   {row}" for row in only[0]), *(f"  other  {row}" for row in only[1])]
    return "\n".join([f"rows: {len(mine)}, the other has {len(theirs)}", *lines])


_HELD: Mapping[str, Any] = {
    "BOOLEAN": pl.Boolean(), "TINYINT": pl.Int8(), "SMALLINT": pl.Int16(), "INTEGER": pl.Int32(), "BIGINT": pl.Int64(),
    "UTINYINT": pl.UInt8(), "USMALLINT": pl.UInt16(), "UINTEGER": pl.UInt32(), "UBIGINT": pl.UInt64(),
    "FLOAT": pl.Float32(), "DOUBLE": pl.Float64(), "VARCHAR": pl.String(), "BLOB": pl.Binary(), "DATE": pl.Date(),
    "TIME": pl.Time(), "INTERVAL": pl.Duration("us"),
    "TIMESTAMP WITH TIME ZONE": pl.Datetime("us", "UTC"), "TIMESTAMP_NS": pl.Datetime("ns"),
}  # fmt: skip


def holds(mine: pl.DataType, theirs: str) -> bool:
    """Whether a column of our result has the type of DuckDB's; a HUGEINT is a decimal without places, or BIGINT."""
    if theirs in ("HUGEINT", '"NULL"'):
        return (isinstance(mine, pl.Decimal) and mine.scale == 0) or mine in (pl.Int64(), pl.Int32(), pl.Null())
    if found := re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", theirs):
        return isinstance(mine, pl.Decimal) and mine.scale == int(found[2])
    if theirs in ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS"):  # DuckDB reads milliseconds of parquet as microseconds
        return mine in (pl.Datetime("us"), pl.Datetime("ms"))
    if theirs.endswith("]"):
        return isinstance(mine, pl.List | pl.Array) and holds(mine.inner, theirs[: theirs.rindex("[")])
    return isinstance(mine, pl.Struct) if theirs.startswith("STRUCT") else _HELD.get(theirs) == mine


@contextlib.contextmanager
def over(tables: Mapping[str, pa.Table], postgres: Postgres | None = None) -> Iterator[Engines]:
    """Write tables to parquet files, and return the engines over them; PostgreSQL gets them too."""
    with tempfile.TemporaryDirectory(prefix="gpuquery-sql-") as folder:
        files = {name: Path(folder) / f"{name}.parquet" for name in tables}
        for name, table in tables.items():
            pq.write_table(table, files[name])
        if postgres is None:
            yield Engines(files, loaded=True)
        else:
            postgres.load(tables)
            yield AgainstPostgres(files, postgres)
