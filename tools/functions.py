"""The reference of SQL's functions as Markdown: from the tables of functions, and from what is refused."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from gpuquery.runner.query.sql import functions
from gpuquery.runner.query.sql.compile import aggregate_functions
from gpuquery.runner.query.sql.compile.aggregate_functions_group import GPU_RELEASES
from gpuquery.runner.query.sql.equivalents import EQUIVALENTS
from gpuquery.runner.query.sql.functions import lacks, written
from gpuquery.runner.query.sql.functions.known import REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gpuquery.runner.query.sql.functions.table import Row

HEADER = """<!-- Generated from operator/gpuquery/runner/query/sql/functions by `make generate`. Do not edit. -->
# Functions of SQL

{count} functions and operators, under {names} names. Tests compare each one with DuckDB, with values at the edges of
its types. A function that is not here is refused, with the nearest name or the way out.

The arguments of a function are written as types: `INTEGER` is a whole number of any width, `NUMBER` any number, `ANY`
any type, `A or B` either. `constant` is the same for all rows: a literal or a parameter. Arguments in brackets are
optional, and `...` may repeat. A function of NULL is NULL, unless its line says otherwise.

The columns with numbers say whether the cudf-polars of that RAPIDS release translates a function: *yes*, *some* of its
calls, or *no*. Empty cells were not tried here; the [check before a job starts](../preflight.md) tries every query. The
last digit of logarithms, of the cube root and of list_var and list_stddev may differ from DuckDB's.
"""


def functions_page() -> str:
    """Return the whole page."""
    tables = [written.ROWS, functions.ROWS, aggregate_functions.ROWS, written.WINDOWS]
    rows = [row for table in tables for row in table]
    names = {name for row in rows for name in (row.name, *row.aliases)}
    parts = [HEADER.format(count=len(rows), names=len(names))]
    groups = dict.fromkeys(row.group for row in rows)
    for group in groups:
        parts += _section(group, [row for row in rows if row.group == group])
    parts += _others()
    return "\n".join(parts).rstrip() + "\n"


def _section(group: str, rows: Iterable[Row]) -> Iterator[str]:
    gpus = list(lacks.NONE)
    yield f"## {group}\n"
    yield f"| function | takes, gives | what it does | {' | '.join(gpus)} |\n|{'---|' * (3 + len(gpus))}"
    for row in rows:
        called = ", ".join(_code(name) for name in (row.name, *row.aliases))
        takes = "<br>".join(_code(_readable(signature)) for signature in row.signatures)
        answers = " | ".join(_translated(row, release) for release in gpus)
        yield f"| {called} | {takes} | {_cell(row.summary)} | {answers} |"
    yield ""


def _translated(row: Row, release: str) -> str:
    """Return what is known: operators and functions of windows were not asked for, aggregates of some releases."""
    asked = lacks.NONE if row in functions.ROWS else GPU_RELEASES.split() if row in aggregate_functions.ROWS else ()
    if release not in asked:
        return ""
    return "no" if release in row.lacks else "some" if release in row.partly else "yes"


def _readable(signature: str) -> str:
    return signature.replace("|", " or ").replace("'", "constant ")


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _others() -> Iterator[str]:
    yield "## Refused functions\n"
    yield "Functions that DuckDB has, and that are refused here by their names.\n"
    yield "| functions | why, and the way out |\n|---|---|"
    for why, names in itertools.groupby(REFUSED, key=REFUSED.__getitem__):
        yield f"| {', '.join(_code(f'{name}') for name in names)} | {_cell(why)} |"
    yield "\n## Functions of other warehouses\n"
    yield "With `query.dialect` most of them are translated. In the dialect of this page:\n"
    yield "| function | what to do |\n|---|---|"
    for name, way_out in sorted(EQUIVALENTS.items()):
        yield f"| `{name}` | {_cell(way_out)} |"
    yield ""
