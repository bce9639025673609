"""TPC-H in its own text, at a small scale: every query answers as DuckDB does, decimals to the digit."""

from __future__ import annotations

import pytest

from tests.support import tpc
from tests.support.sql_verdict import Engines, Outcome


@pytest.fixture(scope="module")
def engines() -> Engines:
    return Engines(tpc.suite("tpch").tables)


@pytest.mark.parametrize("number", range(1, 23))
def test_a_query_of_tpc_h_answers_as_duckdb_does(engines: Engines, number: int) -> None:
    found = engines.verdict(tpc.suite("tpch").queries[number])
    assert found.outcome is Outcome.EQUAL, found.detail
