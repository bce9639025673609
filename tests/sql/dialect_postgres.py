"""Statements of `query.dialect: postgres` by GpuQuery and by a PostgreSQL that is started for them: rows and types.

    python -m tests.sql.dialect_postgres [--only TEXT]

The statements are those of the dialect's table of tests, and those of `dialect_postgres.txt`, which says what becomes
of each: `equal`, `both fail`, `refused` here, or a difference that stands there with its reason. Ends with 1 if
something else becomes of one.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from gpuquery.runner.failures.errors import JobError
from tests.support import sql, sql_dialects
from tests.support.postgres import Postgres, PostgresError, serve, value
from tests.support.sql_dialects import ORDERS
from tests.unit.runner.query.sql.test_dialect_postgres import STATEMENTS

DIFFERENT = "DIFFERENT"
FILE = Path(__file__).with_suffix(".txt")
MAKE = (
    "CREATE TABLE orders (id bigint, cust integer, status text, d date, total numeric(15, 2), note text, ts timestamp)"
)
TYPES = {
    "smallint": pl.Int16(), "integer": pl.Int32(), "bigint": pl.Int64(), "double precision": pl.Float64(),
    "real": pl.Float32(), "boolean": pl.Boolean(), "text": pl.String(), "character varying": pl.String(),
    "date": pl.Date(), "timestamp without time zone": pl.Datetime("us"), "interval": pl.Duration("us"),
    "timestamp with time zone": pl.Datetime("us", "UTC"), "time without time zone": pl.Time(),
}  # fmt: skip


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only statements that hold this text")
    options = parser.parse_args()
    outcomes: Counter[str] = Counter()
    with serve() as postgres:
        postgres.run(MAKE)
        postgres.run("COPY orders FROM STDIN", _copied(ORDERS))
        for text, wanted in statements().items():
            if options.only in text and "now()" not in text:  # its clock is another one
                outcome, detail = judged(postgres, text)
                outcomes[outcome if outcome == wanted else DIFFERENT] += 1
                if outcome != wanted:
                    print(f"\n{outcome}, and not {wanted}: {text}\n{detail}", flush=True)
    print("\n".join(f"{number:6} {what}" for what, number in outcomes.most_common()))
    return int(DIFFERENT in outcomes)


def statements() -> dict[str, str]:
    """Return the statements, and what is to become of each."""
    found = {text: "equal" for one in STATEMENTS for text in one.values[:1] if isinstance(text, str)}
    wanted = "equal"
    for line in FILE.read_text().splitlines():
        if line.startswith("== "):
            wanted = line.removeprefix("== ").partition(":")[0]
        elif line and not line.startswith("#"):
            found[line] = wanted
    return found


def _copied(table: pl.DataFrame) -> str:
    lines = ("\t".join("\\N" if value is None else str(value) for value in row) for row in table.rows())
    return "".join(f"{line}\n" for line in lines)


def judged(postgres: Postgres, text: str) -> tuple[str, str]:
    """Return what becomes of a statement, and how."""
    there = text.replace(":since", "DATE '1995-01-01'")
    try:
        frame = sql_dialects.planned("postgres", text).collect(engine="streaming")
    except JobError as error:
        try:
            return "refused", f"{error.message}; PostgreSQL has {postgres.run(f'COPY ({there}) TO STDOUT')!r}"
        except PostgresError:
            return "both fail", ""
    except pl.exceptions.PolarsError as error:
        try:
            return "fails", f"{_explained(text, error)}; PostgreSQL has {postgres.run(f'COPY ({there}) TO STDOUT')!r}"
        except PostgresError:
            return "both fail", ""
    except Exception as error:  # what no author should see
        return "crash", f"{type(error).__name__}: {error}"
    try:
        rows = postgres.rows(there, frame.dtypes)
        kinds = _types(postgres, there, frame.width)
    except PostgresError as error:
        return "accepted", f"ours {frame.rows()}, PostgreSQL: {error}"
    rows = [tuple(map(_as_ours, row, frame.dtypes)) for row in rows]
    if not sql.same(frame.rows(), rows, ordered=" ORDER BY " in text.rpartition(")")[2]):
        return "rows", f"ours       {frame.rows()}\nPostgreSQL {rows}"
    wrong = [
        f"{mine}, PostgreSQL {kind}" for mine, kind in zip(frame.dtypes, kinds, strict=True) if not _holds(mine, kind)
    ]
    return ("types", "; ".join(wrong)) if wrong else ("equal", "")


def _explained(text: str, error: BaseException) -> str:
    return str(sql_dialects.prepared("postgres", text).failed(error) or error)


def _types(postgres: Postgres, text: str, width: int) -> list[str]:
    names = ", ".join(f"c{number}" for number in range(width))
    asked = f"CREATE TEMP VIEW asked AS SELECT * FROM ({text}) AS q ({names})"
    listed = "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'asked'::regclass ORDER BY attnum"
    return postgres.run(f"{asked}; COPY ({listed}) TO STDOUT").split("\n")[:-1]


def _holds(mine: pl.DataType, kind: str) -> bool:
    """Whether a column of ours is of PostgreSQL's type.

    NUMERIC is a decimal or, of a quotient or an average, a DOUBLE; whole numbers may be wider than there.
    """
    if kind.endswith("[]"):
        return isinstance(mine, pl.List) and _holds(mine.inner, kind[:-2])
    if kind == "numeric":
        return isinstance(mine, pl.Decimal) or mine == pl.Float64()
    if kind in ("smallint", "integer", "bigint"):
        return mine.is_integer() or (isinstance(mine, pl.Decimal) and mine.scale == 0)
    if mine == pl.Null():  # a column of nothing but NULL
        return True
    return TYPES.get(kind) == mine


def _as_ours(held: Any, kind: pl.DataType) -> Any:
    """Read an array as PostgreSQL prints it, `{a,NULL,"b c"}`, without arrays in it."""
    if not isinstance(kind, pl.List) or not isinstance(held, str):
        return held
    found, quoted, word = [], False, ""
    for letter in held[1:-1] + ",":
        if letter == '"':
            quoted = not quoted
        elif letter == "," and not quoted:
            found.append(word)
            word = ""
        else:
            word += letter
    inner = kind.inner
    return [] if held == "{}" else [None if w == "NULL" else value(w, inner) for w in found]


if __name__ == "__main__":
    sys.exit(main())
