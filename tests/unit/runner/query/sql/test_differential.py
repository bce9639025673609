"""Generated statements over generated tables: GpuQuery and DuckDB answer alike, or we refuse by name.

`SEED` and `COUNT` in the environment make another run, as `make test-sql` does; the seed stands in the failure's text.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from tests.support import sql_tables, sql_verdict
from tests.support.sql_generator import Generator, Made
from tests.support.sql_verdict import DIFFERENT, Outcome, Verdict

if TYPE_CHECKING:
    import pytest

Found = list[tuple[Made, Verdict]]

SEED = os.environ.get("SEED", "1")
COUNT = int(os.environ.get("COUNT") or 150)
REFUSED = 0.10
"""The share of statements that may be refused."""
EARLY = 0.01
"""The share that may fail because of a value which DuckDB had no need to compute."""
SHOWN = 20


def test_generated_statements_answer_as_duckdb_does(subtests: pytest.Subtests) -> None:
    """In one test, so that the statements run once: the tests of a module may be in several processes."""
    generator = Generator(SEED)
    made = [generator.statement() for _ in range(COUNT)]
    with sql_verdict.over(sql_tables.tables(int(SEED))) as engines:
        found = [(one, engines.verdict(one.text)) for one in made]
    for question in (answers_as_duckdb, few_are_refused, hardly_any_fails_early, most_have_an_answer):
        with subtests.test(question.__name__):
            question(found)


def answers_as_duckdb(found: Found) -> None:
    different = [(made, verdict) for made, verdict in found if verdict.outcome in DIFFERENT]
    told = [f"{verdict.outcome}: {made.text}\n{verdict.detail}" for made, verdict in different[:SHOWN]]
    assert not different, f"SEED={SEED}: {len(different)} of {COUNT} differ\n\n" + "\n\n".join(told)


def few_are_refused(found: Found) -> None:
    reasons = Counter(verdict.reason for _, verdict in found if verdict.outcome is Outcome.REFUSED)
    told = "\n".join(f"{number:5} {reason}" for reason, number in reasons.most_common(SHOWN))
    assert reasons.total() <= REFUSED * COUNT, f"SEED={SEED}: {reasons.total()} of {COUNT} are refused\n{told}"


def hardly_any_fails_early(found: Found) -> None:
    early = [f"{made.text}\n{verdict.detail}" for made, verdict in found if verdict.outcome is Outcome.EARLY]
    assert len(early) <= EARLY * COUNT, f"SEED={SEED}: {len(early)} of {COUNT}\n\n" + "\n\n".join(early)


def most_have_an_answer(found: Found) -> None:
    """Else the other questions would compare errors."""
    failing = sum(verdict.outcome is Outcome.BOTH_FAIL for _, verdict in found)
    assert failing <= 0.15 * COUNT, f"SEED={SEED}: both fail in {failing} of {COUNT}"
