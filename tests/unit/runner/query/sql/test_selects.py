"""Select statements of the kind that sqllogictest made known: expressions over thirty rows, compared with DuckDB."""

from __future__ import annotations

from random import Random

from tests.support import sql_selects, sql_verdict
from tests.support.sql_verdict import Outcome

SEED = 1
COUNT = 160


def test_statements_over_thirty_rows_answer_as_duckdb_does() -> None:
    random = Random(SEED)
    made = [sql_selects.statement(random) for _ in range(COUNT)]
    with sql_verdict.over({"t1": sql_selects.table(SEED)}) as engines:
        found = [(text, engines.verdict(text)) for text in made]
    different = [
        f"{text}\n{verdict.outcome} {verdict.detail}" for text, verdict in found if verdict.outcome is not Outcome.EQUAL
    ]
    assert not different, f"{len(different)} of {COUNT}\n" + "\n\n".join(different[:10])
