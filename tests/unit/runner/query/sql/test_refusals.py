"""What cannot be exact, or is not compiled, is refused with its place and the way out, before anything runs."""

from __future__ import annotations

import polars as pl
import pytest

from gpuquery.runner.query.sql.compile.target import CPU, Target
from gpuquery.runner.query.sql.compile.values import dtype_of
from gpuquery.runner.query.sql.errors import SqlError
from tests.support import sql as statements
from tests.support.sql_front import SCHEMAS

FRAMES = {
    name: pl.LazyFrame(schema={column: dtype_of(kind) for column, kind in columns.items()})
    for name, columns in SCHEMAS.items()
}
GPU = Target("26.10")


def _told(sql: str, target: Target) -> tuple[str, str]:
    with pytest.raises(SqlError) as found:
        statements.planned(sql, FRAMES, target)
    place = found.value.place
    return found.value.message, sql[place.start : place.end] if place else ""


@pytest.mark.parametrize(
    ("sql", "message", "at"),
    [
        ("SELECT bit_and(b::HUGEINT) FROM t", "bit_and of HUGEINT is not supported: cast it to BIGINT", "bit_and"),
        ("SELECT mode(st) FROM t", "mode of STRUCT(a INTEGER, b VARCHAR) is not supported: use a part", "mode"),
        ("SELECT quantile_disc(l, 0.5) FROM t", "quantile_disc of INTEGER[] is not supported", "quantile_disc"),
        (
            "SELECT quantile_cont(d::DECIMAL(38, 30), 0.5) FROM t",
            "quantile_cont of DECIMAL(38, 30) is not supported: cast it to fewer places",
            "quantile_cont",
        ),
        ("SELECT arg_max(i, l) FROM t", "arg_max by INTEGER[] is not supported", "arg_max"),
        ("SELECT mad(dt) FROM t", "mad of DATE is not supported: cast it to DOUBLE", "mad"),
        ("SELECT max(l) FROM t", "max of INTEGER[] is not supported: compare a part of it", "max"),
        ("SELECT l < l FROM t", "lists can be compared only by = and <>", "l < l"),
        (
            "SELECT {'a': {'b': i}} < {'a': {'b': 2}} FROM t",
            "structs within structs can be compared only by = and",
            "{'a'",
        ),
        ("SELECT i FROM t ORDER BY l", "ORDER BY of INTEGER[] is not supported: order by its parts", ""),
        ("SELECT INTERVAL 1 DAY / 0", "division by zero", "INTERVAL 1 DAY / 0"),
        ("SELECT INTERVAL (i) MONTH FROM t", "argument 1 of to_months must be a constant", "INTERVAL"),
        ("SELECT 1 FROM t a ASOF FULL JOIN u b ON a.ts >= b.ts", "an ASOF FULL JOIN like this is not supported", ""),
        (
            "SELECT 1 FROM t a ASOF JOIN u b ON a.ts >= b.ts AND a.i + b.i > 3",
            "an ASOF INNER JOIN like this is not supported",
            "",
        ),
        ("SELECT b::HUGEINT & 3 FROM t", "& is not supported for HUGEINT: cast it to BIGINT", "b::HUGEINT & 3"),
        ("SELECT hex(b::HUGEINT) FROM t", "hex is not supported for HUGEINT: cast it to BIGINT", "::HUGEINT"),
        ("SELECT to_base(i, 40) FROM t", "to_base takes a base of 2 to 36 and a length of 0 to 64", "40"),
        ("SELECT to_base(i, 1) FROM t", "to_base takes a base of 2 to 36 and a length of 0 to 64", "1"),
        ("SELECT to_base(i, 2, 65) FROM t", "to_base takes a base of 2 to 36 and a length of 0 to 64", "2"),
        ("SELECT date_part('fortnight', dt) FROM t", '"fortnight" is not a part of a date or time', "'fortnight'"),
        ("SELECT strptime(s, '%Y %Y') FROM t", "%Y in the format of strptime is not supported", "'%Y %Y'"),
        ("SELECT date_diff('day', ts::TIME, ts::TIME) FROM t", "a time has no day", "'day'"),
        ("SELECT date_sub('week', ts::TIME, ts::TIME) FROM t", "a time has no week", "'week'"),
        ("SELECT list_aggregate(['a'], 'median')", "the median of a list is for numbers", "list_aggregate"),
        ("SELECT list_distance([1::FLOAT], [2::FLOAT])", "list_distance is for lists of DOUBLE: cast them", "list_"),
        ("SELECT range(dt, dt, INTERVAL 1 DAY) FROM t", "range(TIMESTAMP, TIMESTAMP, INTERVAL) is not", "range"),
        ("SELECT l[1:2:0] FROM t", "the step of a slice must not be 0, and of a text it is 1", "0"),
        ("SELECT l[1:2:-1] FROM t", "a slice with a negative step has no bounds: write list_reverse", "-1"),
        ("SELECT array_length(l, 2) FROM t", "array_length counts the first dimension only", "2"),
        ("SELECT s LIKE 'a' ESCAPE 'ab' FROM t", "an escape character is one character, not 'ab'", "'ab'"),
        ("SELECT s LIKE 'a!' ESCAPE '!' FROM t", "the pattern 'a!' ends with its escape character", "'a!'"),
        ("SELECT s LIKE x ESCAPE '!' FROM t, u", "a pattern with ESCAPE must be a constant", "LIKE"),
        ("SELECT s GLOB '[a' FROM t", "the pattern '[a' has a set of characters that is not supported", "'[a'"),
        ("SELECT s LIKE '" + "%a" * 20_000 + "' FROM t", "the pattern is too large: write it shorter", "'%a"),
        ("SELECT s GLOB '" + "*a" * 20_000 + "' FROM t", "the pattern is too large: write it shorter", "'*a"),
        ("SELECT s ~ '((a{1000}){1000}){1000}' FROM t", "the pattern is too large: write it shorter", "'((a"),
        ("SELECT regexp_extract_all(s, '(a)', 5) FROM t", "the regular expression has no group 5", "5"),
        ("SELECT regexp_extract_all(s, 'a*') FROM t", "a regular expression that may match an empty string", "'a*'"),
        (r"SELECT s ~ 'a\' FROM t", "cannot be used: it ends with a backslash", r"'a\'"),
        ("SELECT s ~ '(?=a)' FROM t", "cannot be used: (?=a is not supported in it", "'(?=a)'"),
        ("SELECT s ~ '[a' FROM t", "cannot be used: a [ in it has no ]", "'[a'"),
        ("SELECT struct_extract(st, 'zz') FROM t", 'the struct has no field "zz" (similar: "a")', "'zz'"),
        ("SELECT greatest(l, l) FROM t", "greatest is not supported for INTEGER[]", "greatest"),
        ("SELECT least(st, st) FROM t", "least is not supported for STRUCT", "least"),
        ("SELECT printf('%d', s) FROM t", "VARCHAR has no place at %d of printf: cast it", "printf"),
        ("SELECT printf('%s', i) FROM t", "BIGINT has no place at %s of printf: cast it", "i"),
        ("SELECT format('{} {}', s) FROM t", "the template of format has more placeholders than", "'{} {}'"),
        ("SELECT format('{:>5}', s) FROM t", "format knows {} and {1}, or %s and %d, in its", "'{:>5}'"),
        ("SELECT {'a': 1, 'A': 2}", 'the struct has the field "A" twice', "2"),
        ("SELECT time_bucket(INTERVAL '1 month 1 day', dt) FROM t", "time_bucket takes an interval of months, or", ""),
        ("SELECT time_bucket(INTERVAL 0 DAY, dt) FROM t", "time_bucket takes an interval of months, or", "INTERVAL 0"),
        ("WITH z AS (DELETE FROM t RETURNING *) SELECT * FROM z", "DELETE is refused: a query is one SELECT", ""),
        ("SELECT i FROM t USING SAMPLE 5", "TABLESAMPLE and USING SAMPLE are refused", ""),
        (
            "WITH RECURSIVE r(a, b) USING KEY (a) AS (SELECT 1, 2 UNION ALL SELECT a, b FROM r) SELECT * FROM r",
            "USING KEY of a recursive query is not supported: use UNION and aggregate its result",
            "",
        ),
        ("SELECT i FROM t AT (VERSION => 3)", "AT (...) is refused: set the version of an input in its source", "t"),
        ("SELECT main.abs(i) FROM t", "main.abs() is refused: functions have no schema, only a name", "main.abs"),
        ("PIVOT t ON s IN my_enum USING sum(i)", "PIVOT needs the values of its columns", ""),
        ("SELECT rowid FROM t", "rowid is refused: the rows of an input have no row number and no order", ""),
        ("SELECT TRY(s::INT) FROM t", "TRY(...) is not supported: use TRY_CAST", "TRY"),
        ("SELECT current_time FROM t", "values of the type TIME WITH TIME ZONE are not supported", "current_time"),
        ("SELECT s COLLATE NOCASE FROM t", "COLLATE NOCASE is not supported: text is compared by its bytes", "s"),
        ("SELECT MAP {'a': 1}", "values of the type MAP are not supported", "MAP"),
        ("SELECT fill(i) OVER (ORDER BY i) FROM t", "function fill() does not exist here", "fill"),
        ("SELECT nextval('x') OVER () FROM t", "nextval() is refused: a query reads only the job's inputs", "nextval"),
        ("SELECT reservoir_quantile(i, 0.5) FROM t", "reservoir_quantile() is refused: every attempt", "reservoir"),
        ("SELECT reservoir_quantile(i, 0.5) OVER () FROM t", "reservoir_quantile() is refused: every", "reservoir"),
        (
            "SELECT list_reduce(l, lambda a, b: a + b) FROM t",
            "list_reduce() is not supported: use list_sum",
            "list_reduce",
        ),
        ("SELECT DATE 'infinity'", "'infinity' as DATE is infinite or not in the years 1 to 9999", "DATE"),
        (
            "SELECT (" + ", ".join(["i"] * 51) + ") < (" + ", ".join(["b"] * 51) + ") FROM t",
            "rows of more than 50 values can be compared only by = and <>",
            "(i",
        ),
        ("SELECT lpad(s, 2000000000, 'x') FROM t", "lpad makes a text of more than 1 GB", "2000000000"),
    ],
    ids=lambda value: value[:60] if value.startswith(("SELECT", "WITH", "PIVOT")) else "",
)
def test_a_statement_is_refused(sql: str, message: str, at: str) -> None:
    told, place = _told(sql, CPU)
    assert message in told
    assert place.startswith(at)


@pytest.mark.parametrize(
    ("sql", "message", "target"),
    [
        ("SELECT l = l FROM t", "lists cannot be compared on GPUs", GPU),
        (
            "SELECT 1 FROM t a ASOF JOIN t b ON a.f >= b.f",
            "an ASOF JOIN by a floating-point number does not run on GPUs",
            GPU,
        ),
        ("SELECT list_transform(l, lambda x: x + 1) FROM t", "list_transform with a lambda does not run on GPUs", GPU),
        ("SELECT unnest(l) FROM t", "UNNEST does not run on GPUs with RAPIDS 26.10", GPU),
        (
            "SELECT d::DECIMAL(38, 10) % 3.1234567891 FROM t",
            "% of DECIMAL(38, 10) is not supported on GPUs: cast to fewer digits",
            GPU,
        ),
        ("SELECT i FROM t LIMIT 10%", "LIMIT in percent needs all rows in one place", GPU),
        (
            "SELECT i FROM t EXCEPT ALL SELECT i FROM u",
            "EXCEPT ALL counts equal rows, which GPU engines do not support",
            GPU,
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) FROM r",
            'WITH RECURSIVE ("r") runs in rounds, which GPU engines do not support',
            GPU,
        ),
        (
            "SELECT sum(f) OVER (ORDER BY i ROWS 2 PRECEDING EXCLUDE TIES) FROM t",
            "sum with EXCLUDE does not run on GPUs",
            GPU,
        ),
        (
            "SELECT max(b) OVER (ORDER BY i ROWS BETWEEN 5000 PRECEDING AND CURRENT ROW) FROM t",
            "max over a frame of more than 64 rows does not run",
            GPU,
        ),
        ("SELECT lag(b, i) OVER (ORDER BY i) FROM t", "lag with an offset that is not a constant does not run", GPU),
        (
            "SELECT lag(b) OVER (ORDER BY i) FROM t",
            "lag over a partition does not run on GPUs with RAPIDS 26.04",
            Target("26.04"),
        ),
        (
            "SELECT first_value(st) OVER (ORDER BY i) FROM t",
            "first_value of STRUCT(a INTEGER, b VARCHAR) does not run",
            GPU,
        ),
        ("SELECT sum(DISTINCT b) OVER (PARTITION BY i) FROM t", "sum with DISTINCT does not run on GPUs", GPU),
        (
            "SELECT nth_value(b, 2) OVER (ORDER BY i ROWS 2 PRECEDING) FROM t",
            "nth_value over this frame does not run",
            GPU,
        ),
        ("SELECT sum(b ORDER BY i) OVER (PARTITION BY s) FROM t", "sum with ORDER BY of its own does not run", GPU),
        ("SELECT mode(i) FROM t", "mode does not run on GPUs", GPU),
        ("SELECT ts::TIME FROM t", "there is no cast from TIMESTAMP to TIME on GPUs", GPU),
    ],
)
def test_a_statement_is_refused_for_gpus(sql: str, message: str, target: Target) -> None:
    told, _ = _told(sql, target)
    assert message in told
