"""Aggregate functions answer as DuckDB's: over groups, over all rows, over none; with DISTINCT, FILTER and ORDER BY."""

from __future__ import annotations

import math
from decimal import Decimal

import pyarrow as pa
import pytest

from gpuquery.runner.query.sql.compile import aggregate_functions
from gpuquery.runner.query.sql.compile.failures import decoded_failure
from gpuquery.runner.query.sql.compile.target import CPU, Target
from gpuquery.runner.query.sql.errors import SqlError
from tests.support import sql, sql_windows

GPU = Target("26.10")
_ON_CPU = "does not run on GPUs with RAPIDS 26.10"
TABLES = sql_windows.tables(3, 40)
_ALL = ["x", "b", "u", "f", "e", "d", "w", "s", "t", "ts", "o", "n", "i"]
_NUMBERS = ["x", "b", "u", "f", "e", "d", "n"]
_SMALL = ["x", "e", "d", "n", "i"]
"""Numbers whose statistics DuckDB itself has to 12 digits."""
_FILTERS = ("", "FILTER (WHERE n > 1)", "FILTER (WHERE o)", "FILTER (WHERE x > 100 AND x < 5)")
ANY = [
    "count({c})", "min({c})", "max({c})", "first({c} ORDER BY i)", "last({c} ORDER BY i)", "list({c} ORDER BY i)",
    "count(DISTINCT {c})", "list(DISTINCT {c} ORDER BY {c})", "list({c} ORDER BY {c} DESC NULLS FIRST, i)",
    "any_value({c} ORDER BY i DESC)", "max({c}, 3)", "min({c}, 2)", "entropy({c})",
    "arg_max(i, {c} ORDER BY i)", "arg_min({c}, i)", "arg_max({c}, i, 3)", "arg_max_null({c}, i)",
    "arg_min_null({c}, i)",
    "arg_max_nulls_last(i, {c} ORDER BY i)", "quantile_disc({c}, 0.3)", "quantile_disc({c}, [0.07, 0.5, 1.0, 0])",
    "median({c})", "percentile_disc(0.4) WITHIN GROUP (ORDER BY {c} DESC)",
]  # fmt: skip
NUMBER = [
    "sum({c})", "avg({c})", "sum(DISTINCT {c})", "avg(DISTINCT {c})", "quantile_cont({c}, 0.3)",
    "quantile_cont({c}, [0.07, 0.5, 1.0, 0.0])", "percentile_cont(0.4) WITHIN GROUP (ORDER BY {c} DESC)",
]  # fmt: skip
ONE = ["stddev", "stddev_pop", "variance", "var_pop", "sem", "fsum", "favg", "product"]
ONE += ["skewness", "kurtosis", "kurtosis_pop"]
TWO = [
    "covar_pop",
    "covar_samp",
    "regr_slope",
    "regr_count",
    "regr_avgx",
    "regr_avgy",
    "regr_sxx",
    "regr_syy",
]
OTHERS = [
    "count(*)", "count_if(o)", "bool_and(o)", "bool_or(o)", "sum(o)", "string_agg(s, '-' ORDER BY i)",
    "string_agg(DISTINCT s, ',' ORDER BY s)", "string_agg(s ORDER BY s DESC, i)", "avg(t)", "avg(ts)",
    "sum(w)", "avg(w)",
    "quantile_cont(t, 0.3)", "quantile_cont(ts, [0.3, 0.6])", "mode(g)", "mode(o)", "sum(1)", "count(1)", "max(5)",
    "list(1)", "bit_and(x)", "bit_or(b)", "bit_xor(DISTINCT n)", "mad(e)", "any_value([x])", "list([n] ORDER BY i)",
    "approx_quantile(n, 1)",
]  # fmt: skip
CALLS = [
    *(call.format(c=column) for call in ANY for column in _ALL),
    *(call.format(c=column) for call in NUMBER for column in _NUMBERS),
    *OTHERS,
]
FILTERED = [f"{call} {_FILTERS[index % len(_FILTERS)]}" for index, call in enumerate(CALLS)]
"""By turns with each filter."""
STATISTICS = [
    *(f"{name}({column})" for name in ONE for column in _SMALL),
    *(f"{name}({column}, n)" for name in TWO for column in _SMALL),
]


def _many(calls: list[str]) -> str:
    return ", ".join(f"{call} AS a{index}" for index, call in enumerate(calls))


@pytest.mark.parametrize("start", range(0, len(FILTERED), 40))
@pytest.mark.parametrize(
    ("rows", "by"),
    [
        pytest.param("t GROUP BY g", "g, ", id="groups"),
        pytest.param("t", "", id="all rows"),
        pytest.param("t WHERE i < 0", "", id="no rows"),
    ],
)
def test_aggregates_answer_as_duckdbs(start: int, rows: str, by: str) -> None:
    calls = FILTERED[start : start + 40]
    mine, theirs = sql.answers(f"SELECT {by}{_many(calls)} FROM {rows}", TABLES)
    mine, theirs = (sorted(found, key=lambda row: str(row[0] if by else 0)) for found in (mine, theirs))
    assert len(mine) == len(theirs)
    columns = [[list(column) for column in zip(*found, strict=True)][len(by) and 1 :] for found in (mine, theirs)]
    wrong = [call for call, a, b in zip(calls, *columns, strict=True) if not sql.same([tuple(a)], [tuple(b)])]
    assert not wrong


@pytest.mark.parametrize("rows", ["t GROUP BY g", "t GROUP BY i", "t", "t WHERE i < 0"])
def test_statistics_answer_as_duckdbs(rows: str) -> None:
    """To nine digits, as DuckDB's own last ones depend on the way."""
    mine, theirs = sql.answers(f"SELECT {_many(STATISTICS)}, min(i) AS z FROM {rows}", TABLES)
    for a, b in zip(*(sorted(found, key=lambda row: row[-1] or 0) for found in (mine, theirs)), strict=True):
        wrong = [call for call, one, other in zip(STATISTICS, a, b, strict=False) if not _near(one, other)]
        assert not wrong


def _near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))


@pytest.mark.parametrize("rows", ["t GROUP BY g", "t", "t WHERE i < 0"])
def test_the_form_for_gpus_has_the_same_values(rows: str) -> None:
    """Run on the CPU; what GPUs cannot do is refused by name. `any_value` may take another value there."""
    answered, refusals = 0, []
    for call in (call for call in FILTERED[::3] if "any_value" not in call):
        try:
            sql.check(f"SELECT {call} AS r FROM {rows}", TABLES, GPU)
        except SqlError as refused:
            refusals.append(refused.message)
        else:
            answered += 1
    assert all("engine" in words for words in refusals)
    assert answered > len(CALLS) / 15


@pytest.mark.parametrize("target", [pytest.param(CPU, id="cpu"), pytest.param(GPU, id="gpu")])
@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("SELECT sum(w) FROM t", id="all rows"),
        pytest.param("SELECT 1, sum(w) FROM t GROUP BY 1", id="a group"),
        pytest.param("SELECT avg(w), list(w) FROM t GROUP BY k", id="a group that Polars does not stream"),
        pytest.param("SELECT sum(w) OVER () FROM t", id="a window"),
        pytest.param("SELECT sum(w) OVER (ORDER BY k) FROM t", id="a running sum"),
        pytest.param("SELECT sum(w) OVER (ORDER BY k ROWS 3 PRECEDING) FROM t", id="a sliding sum"),
    ],
)
def test_a_sum_of_more_than_38_digits_fails_in_words(statement: str, target: Target) -> None:
    big = [Decimal(9 * 10**37)] * 8
    tables = {"t": pa.table({"w": pa.array(big, pa.decimal128(38, 0)), "k": pa.array([1] * 8)})}
    with pytest.raises(Exception) as failed:  # noqa: PT011 - Polars' errors are of many classes
        sql.ours(statement, tables, target)
    told = decoded_failure(failed.value)
    assert "38 digits" in told[0] if told else _ON_CPU in str(failed.value)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("SELECT k, sum(q * q), count(*), avg(q) FROM t GROUP BY k", id="a group that Polars streams"),
        pytest.param("SELECT 1, sum(q * q) FROM t GROUP BY 1", id="a constant group"),
        pytest.param(
            "SELECT k, sum(q * q), string_agg(s, ',' ORDER BY s) FROM t GROUP BY k", id="one that it does not"
        ),
        pytest.param(
            "SELECT k, sum(x), median(x) FROM (SELECT k, q * q AS x FROM t) AS p GROUP BY k", id="a product below"
        ),
        pytest.param("SELECT k, sum(q * q + q * q), count(*) FROM t GROUP BY ROLLUP (k)", id="a sum of products"),
    ],
)
def test_a_sum_of_products_of_18_digits_fails_beyond_38(statement: str) -> None:
    """DuckDB says DECIMAL(18) for such products, and fails for each of them."""
    tables = {
        "t": pa.table({
            "q": pa.array([Decimal(10**18 - 1)] * 800, pa.decimal128(18, 0)), "k": [1, 2] * 400, "s": ["x"] * 800,
        })
    }  # fmt: skip
    with pytest.raises(Exception) as failed:  # noqa: PT011 - Polars' errors are of many classes
        sql.ours(statement, tables)
    told = decoded_failure(failed.value)
    assert told and "38 digits" in told[0]


@pytest.mark.parametrize(
    ("column", "want"),
    [
        pytest.param([1, 2], 1, id="half goes towards zero"),
        pytest.param([1, 2, 2], 2, id="more than half goes up"),
        pytest.param([-1, -2, -2], -1, id="before 1970 it is cut"),
    ],
)
def test_an_average_of_moments_is_the_nearest_microsecond(column: list[int], want: int) -> None:
    tables = {"t": pa.table({"m": pa.array(column, pa.timestamp("us"))})}
    sql.check("SELECT avg(m) FROM t", tables)
    assert sql.ours("SELECT epoch_us(avg(m)) FROM t", tables) == [(want,)]


def test_the_average_of_decimals_is_right_to_the_last_bit() -> None:
    """`0.1` is not a valid DOUBLE: dividing before, or summing up DOUBLEs, gives other last bits."""
    values = [Decimal(n) / 100 for n in (10, 20, 30, 15, 99, 7, 1234567, 3)]
    tables = {"t": pa.table({"d": pa.array(values, pa.decimal128(18, 2)), "i": pa.array(range(8))})}
    mine, theirs = sql.answers("SELECT avg(d), avg(d) FILTER (WHERE i < 3), avg(i) FILTER (WHERE i > 2) FROM t", tables)
    assert mine == theirs


def test_the_most_frequent_value_of_several_is_the_least() -> None:
    tables = {"t": pa.table({"x": pa.array([3, 2, 3, 2, 9])})}
    assert sql.ours("SELECT mode(x) FROM t", tables) == [(2,)]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        pytest.param("max([x])", "max of INTEGER[] is not supported: compare a part of it", id="the greatest list"),
        pytest.param("mode([x])", "mode of INTEGER[] is not supported", id="the most frequent list"),
        pytest.param("approx_top_k(x, 2)", "function approx_top_k() does not exist here", id="an unknown function"),
    ],
)
def test_what_is_not_exact_is_refused(call: str, words: str) -> None:
    with pytest.raises(SqlError) as refused:
        sql.ours(f"SELECT {call} FROM t", TABLES)
    assert refused.value.message.startswith(words)


def test_the_reference_has_every_function_once() -> None:
    names = [name for row in aggregate_functions.ROWS for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))
    assert set(aggregate_functions.FUNCTIONS) <= set(names)
    assert all(row.signatures and row.summary for row in aggregate_functions.ROWS)
