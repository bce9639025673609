"""Where parts of a plan stand in the author's text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpuquery.runner.query.sql.plan import Aggregate, AggregateCall, Relation, Window, WindowCall
from tests.support.sql_front import bound

if TYPE_CHECKING:
    from collections.abc import Iterator


def _calls(relation: Relation) -> Iterator[AggregateCall | WindowCall]:
    if isinstance(relation, Aggregate | Window):
        yield from relation.calls
    for below in relation.inputs:
        yield from _calls(below)


@pytest.mark.parametrize(
    ("sql", "places"),
    [
        pytest.param(
            "SELECT 'é', sum(i), sum(b), sum(i + 1), max(d) FILTER (WHERE i > 0) FROM t",
            ["sum(i)", "sum(b)", "sum(i + 1)", "max(d) FILTER (WHERE i > 0)"],
            id="aggregates by their columns",
        ),
        pytest.param(
            "SELECT avg(i) OVER (), lag(s) OVER (ORDER BY i), count(*) OVER () FROM t",
            ["avg(i) OVER ()", "lag(s) OVER (ORDER BY i)", "count(*) OVER ()"],
            id="window functions",
        ),
        pytest.param("SELECT s, :n FROM t GROUP BY s HAVING sum(b) > :n", ["sum(b)"], id="behind a parameter"),
    ],
)
def test_a_call_knows_its_place(sql: str, places: list[str]) -> None:
    values = {"n": ("integer", 3)} if ":n" in sql else {}
    found = [call.place for call in _calls(bound(sql, **values).relation)]
    assert [sql[place.start : place.end] for place in found if place] == places
