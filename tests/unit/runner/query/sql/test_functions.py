"""Every function of the table answers as DuckDB's over values at the edges, fails where it fails, and has its words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from gpuquery.runner.query.sql import functions
from gpuquery.runner.query.sql.compile import failures
from gpuquery.runner.query.sql.compile.target import CPU
from gpuquery.runner.query.sql.equivalents import EQUIVALENTS
from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.functions import written
from gpuquery.runner.query.sql.functions.known import REFUSED
from tests.support import sql_functions as both
from tests.support.sql_function_cases import BY_NOW, CASES, FAILS
from tools.functions import functions_page

if TYPE_CHECKING:
    from gpuquery.runner.query.sql.functions.table import Row

APPROXIMATE = {
    *("cbrt", "log", "log2", "log10", "list_stddev_samp", "list_stddev_pop", "list_var_samp", "list_var_pop"),
    *("list_cosine_similarity", "list_cosine_distance"),
}
"""Their last digit depends on the library of mathematics, or on the order of additions."""
WRITTEN = {row.name for row in written.ROWS}
CONSTANTS = {"to_months", "to_quarters", "to_years", "to_decades", "to_centuries", "to_millennia"}
"""What the front end has folded: their arguments are constants only."""


@pytest.mark.parametrize("name", CASES)
def test_a_function_answers_as_duckdb_does(name: str) -> None:
    found = both.differences(CASES[name], tolerance=1e-14 if name in APPROXIMATE else 0.0)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", [name for name in CASES if name not in WRITTEN | CONSTANTS])
def test_the_cases_of_a_function_call_it(name: str) -> None:
    row = next(row for row in functions.ROWS if row.name == name)
    assert {row.name, *row.aliases} & both.called(CASES[name])


def test_every_row_of_the_table_has_a_case() -> None:
    rows = {row.name for row in (*functions.ROWS, *written.ROWS)}
    assert rows == {*CASES, *BY_NOW}


def test_the_table_has_more_than_two_hundred_functions_and_each_name_once() -> None:
    rows = (*functions.ROWS, *written.ROWS)
    names = [name for row in rows for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))
    assert len(rows) >= 250


@pytest.mark.parametrize("text", [text for texts in BY_NOW.values() for text in texts])
def test_the_moment_is_the_start_of_the_job(text: str) -> None:
    ((found,),) = set(both.ours([text]))
    assert found.replace(tzinfo=None) == both.NOW.replace(tzinfo=None)


@pytest.mark.parametrize("text", FAILS)
def test_what_fails_in_duckdb_fails_here_and_says_where(text: str) -> None:
    with pytest.raises(Exception, match=r"."):
        both.theirs([text])
    with pytest.raises((SqlError, pl.exceptions.PolarsError)) as caught:
        both.ours([text])
    error = caught.value
    said = (error.message, error.place) if isinstance(error, SqlError) else failures.decoded_failure(error)
    assert said is not None, error
    assert all(said)


def refused(text: str) -> SqlError:
    with pytest.raises(SqlError) as caught:
        both.compiled([text])
    assert caught.value.place is not None
    return caught.value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("nvl(i, 1)", "coalesce(a, b)", id="another warehouse's name: what to write"),
        pytest.param("to_char(x, 'YYYY')", "strftime", id="another warehouse's format function: what to write"),
        pytest.param("uper(s)", "upper", id="a misspelt name: the nearest one"),
        pytest.param("md5(s)", "digests", id="a function that Polars lacks: the reason"),
        pytest.param("age(ts, tu)", "date_sub", id="an interval of months: what counts them"),
        pytest.param("regexp_matches(s, p)", "argument 2 of regexp_matches must be a constant", id="a pattern of rows"),
        pytest.param(r"regexp_matches(s, '\B')", "cannot be used", id="a pattern that both libraries read differently"),
        pytest.param(
            "regexp_extract_all(s, 'a*|b')", "empty string", id="all matches of a pattern that matches nothing"
        ),
        pytest.param("regexp_split_to_array(s, 'a|(b|c?)')", "empty string", id="splitting between all letters"),
        pytest.param("strftime(x, s)", "constant", id="a format of rows"),
        pytest.param("row(i, s)", "write {'a': x, 'b': y}", id="a row without names"),
        pytest.param("hash(s)", "release", id="a result that no release promises"),
        pytest.param("epoch(to_months(i))", "must be a constant", id="months of rows"),
        pytest.param("s LIKE p ESCAPE '!'", "must be a constant", id="a pattern of rows with an escape"),
        pytest.param("ts AT TIME ZONE 'Europe/Atlantis'", "is not a time zone", id="a zone that there is not"),
        pytest.param("format('{:>5}', i)", "template", id="a format within a template"),
    ],
)
def test_a_call_that_is_refused_says_what_to_do(text: str, words: str) -> None:
    assert words in refused(text).message


def test_a_function_that_a_release_lacks_is_refused_for_that_release_only() -> None:
    lacking = [row for row in functions.ROWS if "26.10" in row.lacks]
    assert lacking
    row = next(row for row in lacking if row.name == "reverse")
    with pytest.raises(SqlError, match=r"reverse cannot run on GPUs with RAPIDS 26.10"):
        both.compiled([CASES[row.name][0]], both.Target("26.10"))
    assert both.compiled([CASES[row.name][0]], CPU)


def test_a_name_of_another_warehouse_is_none_of_ours_and_none_of_duckdbs() -> None:
    known = {name for row in (*functions.ROWS, *written.ROWS) for name in (row.name, *row.aliases)}
    assert not (known | both.names_in_duckdb()) & set(EQUIVALENTS)


def test_a_refused_function_is_one_that_duckdb_has_and_the_table_has_not() -> None:
    known = {name for row in (*functions.ROWS, *written.ROWS) for name in (row.name, *row.aliases)}
    assert set(REFUSED) <= both.names_in_duckdb() - known


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in written.WINDOWS])
def test_a_window_function_of_the_reference_answers_as_duckdb_does(row: Row) -> None:
    given = {"ntile": "2", "lag": "i, 1, 7", "lead": "i", "nth_value": "i, 2"}.get(row.name, "i")
    arguments = given if "ANY" in row.signatures[0] or row.name == "ntile" else ""
    statement = f"SELECT i, {row.name}({arguments}) OVER (ORDER BY i NULLS FIRST) FROM t"
    assert sorted(both.answers(statement), key=str) == sorted(both.duckdb_answers(statement), key=str)


@pytest.mark.parametrize("name", ["date_trunc", "date_diff", "round", "left", "ilike", "strftime", "time_bucket"])
def test_what_is_written_otherwise_for_gpus_means_the_same(name: str) -> None:
    """Run by Polars on the CPU, which reads all of it but the end of a text as cudf does."""
    calls = [text for text in CASES[name] if "ILIKE p" not in text]
    found = both.differences(calls, target=both.Target("26.10"))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        pytest.param("reverse", ["no"] * 5, id="a function was asked of every release that runs SQL"),
        pytest.param("median", ["", "no", "", "", "no"], id="an aggregate of two of them"),
        pytest.param("row_number", [""] * 5, id="a function of windows of none"),
    ],
)
def test_the_page_says_nothing_of_a_release_that_was_not_asked(name: str, answers: list[str]) -> None:
    (line,) = [line for line in functions_page().splitlines() if line.startswith(f"| `{name}`")]
    assert [cell.strip() for cell in line.split("|")[-6:-1]] == answers
