"""What all dialects have alike: what is not known is refused where it stands, and messages have the author's places."""

from __future__ import annotations

import polars as pl
import pytest

from gpuquery.api.choices import Dialect
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query.sql.dialects import formats, translation
from gpuquery.runner.query.sql.dialects.rewriter import Refused
from tests.support import tpc
from tests.support.sql_dialects import planned, prepared

NAMES = [one.value for one in Dialect if one not in (Dialect.DUCKDB, Dialect.POLARS)]
REFUSED = [
    pytest.param("spark", "SELECT months_between(d, d) FROM orders", 8, ["months_between", "datediff"], id="fractions"),
    pytest.param("spark", "SELECT\n  from_json(note, 'a INT') FROM orders", 3, ["from_json", "JSON"], id="JSON"),
    pytest.param("spark", "SELECT nofun(d) FROM orders", 8, ['"nofun"', "Spark"], id="a function that nobody knows"),
    pytest.param("spark", "SELECT lenght(note) FROM orders", 8, ['did you mean "length"'], id="a function misspelt"),
    pytest.param("spark", "SELECT date_format(d, 'YYYY') FROM orders", 8, ["'Y'", "YYYY"], id="Java's week year"),
    pytest.param("spark", "SELECT trunc(d, 'HOUR') FROM orders", 8, ["HOUR", "year"], id="a part that a day has not"),
    pytest.param("snowflake", "SELECT note:a.b FROM orders", 8, ["path", "columns"], id="a path into JSON"),
    pytest.param("snowflake", "SELECT object_construct('a', 1)", 8, ["object_construct"], id="an object"),
    pytest.param("snowflake", "SELECT * FROM db.orders", 15, ["db.orders", "only a name"], id="a schema"),
    pytest.param("snowflake", "SELECT * FROM orders SAMPLE (10)", 30, ["TABLESAMPLE"], id="a sample"),
    pytest.param("bigquery", "SELECT * FROM `p.d.orders`", 15, ["p.d.orders"], id="a project in back ticks"),
    pytest.param("bigquery", "SELECT safe.substr('a', 1)", 13, ["SAFE_CAST"], id="a function that is safe"),
    pytest.param("bigquery", "SELECT @since", None, [":name"], id="a parameter of its own kind"),
    pytest.param("bigquery", "SELECT CAST('1' AS BIGNUMERIC)", None, ["76", "NUMERIC"], id="too many digits"),
    pytest.param("trino", "SELECT try(d + 1) FROM orders", 8, ["TRY_CAST"], id="TRY of anything"),
    pytest.param("trino", "SELECT map(ARRAY['a'], ARRAY[1])", 8, ["maps"], id="a map"),
    pytest.param("trino", "SELECT current_timestamp AT TIME ZONE 'UTC'", None, ["UTC"], id="a time zone"),
    pytest.param("redshift", "SELECT datediff(week, d, d) FROM orders", 8, ["Sunday"], id="weeks from another day on"),
    pytest.param("redshift", "SELECT months_between(d, d) FROM orders", 8, ["datediff"], id="months in parts"),
    pytest.param("postgres", "SELECT to_char(total, '999D99') FROM orders", 8, ["'9'"], id="a number by a pattern"),
    pytest.param("postgres", "SELECT 'a'::char(3)", 8, ["VARCHAR"], id="texts that are filled up"),
    pytest.param("postgres", "SELECT pg_sleep(1)", 8, ["pg_sleep"], id="a function of the server"),
    pytest.param("postgres", "SELECT * FROM pg_class", 15, ["pg_class", "orders"], id="a table of the server"),
    pytest.param("postgres", "SELECT * FROM ordrs", 15, ['did you mean "orders"'], id="a table misspelt"),
    pytest.param("postgres", "SELECT random()", 8, ["parameter"], id="another value each time"),
    pytest.param("postgres", "SELECT extract(nothing FROM d) FROM orders", 8, ["NOTHING"], id="no part of time"),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "sql", "column", "words"), REFUSED)
def test_what_has_no_counterpart_is_refused_where_it_stands(
    dialect: str, sql: str, column: int | None, words: list[str]
) -> None:
    with pytest.raises(JobError) as caught:
        planned(dialect, sql)
    assert caught.value.failure is Failure.INVALID_QUERY
    for word in words:
        assert word in caught.value.message
    if column is not None:
        line = sql.count("\n") + 1
        assert caught.value.message.startswith(f"line {line}, column {column}: "), caught.value.message


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize(
    ("sql", "words"),
    [
        pytest.param("DROP TABLE orders", ["one SELECT"], id="no SELECT"),
        pytest.param("SELECT 1; SELECT 2", ["second statement"], id="two of them"),
        pytest.param("SELECT (1", ["does not parse"], id="no SQL"),
        pytest.param("  -- nothing", ["empty"], id="nothing"),
        pytest.param("INSERT INTO orders SELECT 1", ["one SELECT"], id="a change"),
        pytest.param("WITH x AS (DELETE FROM orders) SELECT 1", ["SQL", "SELECT"], id="a change inside of a CTE"),
        pytest.param("SELECT * FROM read_parquet('s3://x')", ["read_parquet"], id="a file function"),
        pytest.param("SELECT * FROM 'x.parquet'", [], id="a file"),
        pytest.param("SELECT getvariable('x')", ["getvariable"], id="a function of DuckDB"),
        pytest.param("SELECT gq_moved(d, INTERVAL '1' DAY) FROM orders", ["gq_moved"], id="a function of ours"),
    ],
)
def test_no_dialect_takes_anything_but_one_query(dialect: str, sql: str, words: list[str]) -> None:
    with pytest.raises(JobError) as caught:
        prepared(dialect, sql)
    assert caught.value.failure is Failure.INVALID_QUERY
    assert any(word in caught.value.message for word in words) or not words, caught.value.message


WRONG = [
    pytest.param("spark", "SELECT id,\n       date_add(dd, 7)\nFROM orders", (2, 17), '"dd"', id="a column in a call"),
    pytest.param("snowflake", "SELECT iff(total > 1,\n  nop, 2)\nFROM orders", (2, 3), '"nop"', id="a column in IFF"),
    pytest.param("bigquery", "SELECT\n  o.nop\nFROM orders AS o", (2, 3), "nop", id="a column of a table"),
    pytest.param(
        "postgres", "SELECT id,\n  sum(nop)\nFROM orders", (2, 7), '"nop"', id="in a function that goes by types"
    ),
    pytest.param("postgres", "SELECT /* a */ round(\n\n nop)", (3, 2), '"nop"', id="without FROM"),
    pytest.param("spark", "SELECT nop + INTERVAL 1 DAY FROM orders", (1, 8), '"nop"', id="beside an INTERVAL"),
    pytest.param("trino", "-- a\nSELECT date_trunc('day',\n nop) FROM orders", (3, 2), '"nop"', id="behind a comment"),
    pytest.param("snowflake", "SELECT listagg(DISTINCT\n nop, ',') FROM orders", (2, 2), '"nop"', id="behind DISTINCT"),
    pytest.param("bigquery", "SELECT [id][\n OFFSET(nop)] FROM orders", (2, 9), '"nop"', id="as the index of a list"),
    pytest.param("redshift", "SELECT 'é', nop\nFROM orders", (1, 13), '"nop"', id="behind a letter of two bytes"),
]


@pytest.mark.parametrize(("dialect", "sql", "place", "word"), WRONG)
def test_an_error_of_names_has_its_place_in_the_authors_text(
    dialect: str, sql: str, place: tuple[int, int], word: str
) -> None:
    with pytest.raises(JobError) as caught:
        planned(dialect, sql)
    assert caught.value.message.startswith(f"line {place[0]}, column {place[1]}: "), caught.value.message
    assert word in caught.value.message


@pytest.mark.parametrize(
    ("dialect", "sql", "place"),
    [
        pytest.param("snowflake", "SELECT id,\n  note::number\nFROM orders", "line 2, column 3", id="two colons"),
        pytest.param("spark", "SELECT\n  nvl(CAST(note AS INT), 0)\nFROM orders", "line 2, column 7", id="in a call"),
        pytest.param("postgres", "SELECT CAST(note AS date) FROM orders", "line 1, column 8", id="a cast to a day"),
    ],
)
def test_a_failure_of_the_running_query_has_its_place_and_its_value(dialect: str, sql: str, place: str) -> None:
    frame = planned(dialect, sql)
    with pytest.raises(pl.exceptions.PolarsError) as caught:
        frame.collect()
    told = prepared(dialect, sql).failed(caught.value)
    assert told is not None
    assert told.startswith(f"{place}: ")
    assert "a,b" in told


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        pytest.param("spark", "SELECT :sinec", id="misspelt"),
        pytest.param("trino", "SELECT id FROM orders WHERE d > :since AND id = :other", id="one of two"),
    ],
)
def test_a_parameter_without_a_value_is_told_where_it_stands(dialect: str, sql: str) -> None:
    with pytest.raises(JobError) as caught:
        prepared(dialect, sql)
    at = sql.index(":other" if ":other" in sql else ":sinec") + 1
    assert caught.value.message.startswith(f"line 1, column {at}: parameter :")


@pytest.mark.parametrize("dialect", NAMES)
def test_a_refused_function_says_what_to_do(dialect: str) -> None:
    known = translation.known(dialect).functions
    assert len(known) > 100
    ways = {name: rule.way for name, rule in known.items() if isinstance(rule, Refused)}
    assert [name for name, way in ways.items() if len(way) < 10] == []


PATTERNS = [
    pytest.param("yyyy-MM-dd'T'HH:mm", formats.JAVA, "%Y-%m-%dT%H:%M", id="Java's quotes"),
    pytest.param("d/M/yy", formats.JAVA, "%-d/%-m/%y", id="single letters"),
    pytest.param("h 'o''clock' a", formats.JAVA, "%I o'clock %p".replace("%I", "%-I"), id="a quote in quotes"),
    pytest.param('YYYY"Q"MM', formats.ORACLE, "%YQ%m", id="Oracle's quotes"),
    pytest.param("HH24:MI:SS.US", formats.ORACLE, "%H:%M:%S.%f", id="microseconds"),
    pytest.param("%Y%% %H:%i", formats.MYSQL, "%Y%% %H:%M", id="MySQL's minutes"),
    pytest.param("%F %T", formats.STRFTIME, "%Y-%m-%d %H:%M:%S", id="short for more"),
]


@pytest.mark.parametrize(("pattern", "letters", "want"), PATTERNS)
def test_a_pattern_of_time_becomes_strftimes(pattern: str, letters: dict[str, str], want: str) -> None:
    assert formats.translated(pattern, letters) == want


@pytest.mark.parametrize(
    ("pattern", "letters"),
    [
        pytest.param("YYYY-MM-dd", formats.JAVA, id="Java's year of the week"),
        pytest.param("MMMMM", formats.JAVA, id="the first letter of a month"),
        pytest.param("Month", formats.ORACLE, id="a name that is filled up with blanks"),
        pytest.param("YYYY Q", formats.ORACLE, id="a quarter, which strftime has not"),
        pytest.param("%Q", formats.STRFTIME, id="BigQuery's quarter"),
        pytest.param("100%", formats.MYSQL, id="a percent sign at the end"),
    ],
)
def test_a_letter_that_has_no_counterpart_is_refused(pattern: str, letters: dict[str, str]) -> None:
    with pytest.raises(formats.UnknownLetterError):
        formats.translated(pattern, letters)


@pytest.mark.parametrize("dialect", NAMES)
def test_the_standard_text_of_tpc_h_is_known_in_every_dialect(dialect: str) -> None:
    """It is what all of them claim to take: nothing in it may be missing in a table."""
    for text in tpc.suite("tpch").queries.values():
        assert translation.translated(text, dialect).text.startswith(("SELECT", "WITH"))
