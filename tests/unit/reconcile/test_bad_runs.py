"""Every kind of bad input that a pod meets: the class, what the message names, and that nothing was written.

Stores that refuse, vanish or lie are in tests/s3.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from tests.support.runner import plan, result, run

SELECT = "SELECT id, name FROM shops"
PYTHON = "def query(inputs, params):\n    "

BAD: list[Any] = [
    pytest.param({"query": "SELEC id FROM shops"}, "InvalidQuery", ["line 1, column 1"], id="SQL that does not parse"),
    pytest.param(
        {"query": "SELECT *\nFROM shop"}, "InvalidQuery", ["line 2, column 6", '"shop"', "known: shops"], id="a table"
    ),
    pytest.param(
        {"query": "SELECT id,\n  nam FROM shops"}, "InvalidQuery",
        ["line 2, column 3", '"nam"', "id, name"], id="a column",
    ),
    pytest.param({"query": SELECT + "; SELECT 2"}, "InvalidQuery", ["2 statements", "one SELECT"], id="two statements"),
    pytest.param({"query": "DROP TABLE shops"}, "InvalidQuery", ["DROP", "SELECT"], id="DDL"),
    pytest.param({"query": "COPY shops TO '/tmp/x'"}, "InvalidQuery", ["COPY", "SELECT"], id="COPY"),
    pytest.param(
        {"query": "SELECT * FROM read_parquet('/etc/x')"}, "InvalidQuery",
        ["read_parquet", "column 15"], id="a file function",
    ),
    pytest.param({"query": SELECT + " WHERE id = :n"}, "InvalidQuery", [":n", "column 39"], id="an unbound parameter"),
    pytest.param({"parameters": {"n": {"integer": 1}}}, "InvalidQuery", ['"n"', "not used"], id="an unused parameter"),
    pytest.param(
        {"query": SELECT + " WHERE id = :n", "parameters": {"n": {"date": "1994-02-31"}}}, "InvalidQuery",
        ['"n"', "1994-02-31"], id="a parameter without a meaning",
    ),
    pytest.param(
        {"query": SELECT + " WHERE id = :n", "parameters": {"n": {"string": "1"}}}, "InvalidQuery",
        ["line 1, column 39", ":n", "string", "BIGINT"], id="a parameter of another type than its column",
    ),
    pytest.param(
        {"language": "python", "query": PYTHON + "raise ValueError('mine')"}, "UserError",
        ["ValueError: mine", "query.py line 2, in query: raise ValueError('mine')"], id="Python that raises",
    ),
    pytest.param({"language": "python", "query": PYTHON + "return 7"}, "UserError", ["int", "LazyFrame"], id="7"),
    pytest.param(
        {"language": "python", "query": PYTHON + "return inputs['shops'].sink_parquet('/tmp/x')"}, "UserError",
        ["sink_parquet", "line 2", "the runner writes the output"], id="Python that sinks",
    ),
    pytest.param(
        {"language": "python", "query": PYTHON + "f = lambda df: 1 / 0\n    return inputs['shops'].map_batches(f)"},
        "UserError", ["ZeroDivisionError", "query.py line 2"], id="Python that raises while rows move",
    ),
    pytest.param(
        {"query": "SELECT CAST(name AS INT) AS n FROM shops"}, "UserError",
        ["line 1, column 8", "is not a valid INTEGER"], id="cast",
    ),
    pytest.param(
        {"inputs": {"shops": "file://{}/none/*.parquet"}}, "InvalidInput", ['"shops"', "none/*.parquet"], id="a glob"
    ),
    pytest.param({"engine": "steam"}, "InvalidPlan", ['"steam"', "cpu"], id="an engine that is not there"),
    pytest.param({"partition": ["colour"]}, "UserError", ["colour", "id", "name"], id="partitionBy without a column"),
    pytest.param(
        {"query": "SELECT id, ARRAY[1, 2] AS l FROM shops", "partition": ["l"]}, "UserError", ["'l'", "List"],
        id="partitionBy of a list",
    ),
]  # fmt: skip


@pytest.fixture
def wanted(tmp_path):
    """Makes a plan over one small table; `{}` in a URI is the test's folder."""
    pl.DataFrame({"id": [1, 2], "name": ["x y", "z"]}).write_parquet(tmp_path / "shops.parquet")

    def make(query: str = SELECT, partition: tuple[str, ...] = (), **changes: Any):
        inputs = changes.pop("inputs", {"shops": "file://{}/shops.parquet"})
        inputs = {name: uri.format(tmp_path) for name, uri in inputs.items()}
        output = {"uri": f"file://{tmp_path}/out", "partitionBy": partition, **changes.pop("output", {})}
        # An engine that is none does not become a plan by its models.
        update = {"engine": changes.pop("engine")} if "engine" in changes else {}
        return plan(tmp_path, query, inputs=inputs, output=output, **changes).model_copy(update=update)

    return make


@pytest.mark.parametrize(("changes", "failure", "words"), BAD)
def test_bad_input_is_classed_named_and_leaves_no_output(tmp_path, wanted, changes, failure, words):
    report = run(wanted(**changes))
    assert report.failure == failure
    assert report.committed is None
    for word in words:
        assert word in report.message
    assert [p for p in tmp_path.glob("out/**/*") if p.is_file()] == []


def test_output_that_exists_is_refused_with_its_version_before_the_query_runs(wanted):
    assert run(wanted()).committed is not None
    second = run(wanted("SELECT nope FROM shops"))
    assert second.failure is Failure.OUTPUT_EXISTS
    assert "version 1" in second.message
    assert second.query_started is None


def test_a_wrong_text_is_refused_before_the_output_is_looked_at(wanted):
    assert run(wanted()).committed is not None
    assert run(wanted("SELEC 1")).failure is Failure.INVALID_QUERY


def test_an_empty_result_is_committed_with_its_schema(tmp_path, wanted):
    report = run(wanted("SELECT id, name FROM shops WHERE id > 99"))
    assert report.committed is not None
    assert report.committed.rows == 0
    assert result(tmp_path).schema == pl.Schema({"id": pl.Int64, "name": pl.String})
    assert result(tmp_path).height == 0


def test_a_product_of_decimals_keeps_all_places(tmp_path, wanted):
    x = "CAST(id / 4 AS DECIMAL(15, 2))"
    report = run(wanted(f"SELECT {x} * {x} AS x FROM shops ORDER BY id"))
    assert (report.failure, report.warnings) == (None, ())
    assert sorted(result(tmp_path)["x"]) == [Decimal("0.0625"), Decimal("0.2500")]


def test_a_cast_that_rounds_succeeds_and_says_so(wanted):
    report = run(wanted("SELECT CAST(id / 3 AS INTEGER) AS x FROM shops"))
    assert report.committed is not None
    assert report.warnings == ("line 1, column 8: CAST of DOUBLE to INTEGER rounds to whole numbers",)


def test_polars_own_sql_runs_for_one_release_more_and_says_that_it_goes(wanted):
    report = run(wanted("SELECT id // 2 AS x FROM shops", dialect="polars"))
    assert report.committed is not None
    (warning,) = report.warnings
    assert "query.dialect polars is deprecated" in warning


def test_thousands_of_values_in_a_list_run(wanted):
    ids = ", ".join(str(n) for n in range(1, 3_000))
    report = run(wanted(f"SELECT id FROM shops WHERE id IN ({ids})"))
    assert report.committed is not None
    assert report.committed.rows == 2


def test_an_expression_that_is_nested_too_deeply_is_refused_with_the_way_out(wanted):
    report = run(wanted("SELECT " + " * ".join(["id"] * 600) + " AS x FROM shops"))
    assert report.failure is Failure.INVALID_QUERY
    assert "nested too deeply" in report.message
    assert "IN (...)" in report.message


def test_a_chain_of_hundreds_of_terms_runs(wanted):
    report = run(wanted("SELECT id FROM shops WHERE " + " OR ".join(f"id = {n}" for n in range(1, 500))))
    assert report.committed is not None
    assert report.committed.rows == 2
