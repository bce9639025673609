"""How the pauses of what waits grow."""

from __future__ import annotations

import pytest

from gpuquery.reconcile.policy.case import LONGEST, pause

MINUTE, HOUR = 60.0, 3600.0


@pytest.mark.parametrize(
    ("first", "waited", "want"),
    [
        pytest.param(5, 0, 5, id="what has just begun to wait is looked at soon"),
        pytest.param(5, 50, 5, id="in the first minute nothing changes"),
        pytest.param(5, 5 * MINUTE, 30, id="after that a tenth of the wait is added to it at most"),
        pytest.param(5, HOUR, 120, id="after twenty minutes it is two minutes, and stays so"),
        pytest.param(5, 365 * 24 * HOUR, 120, id="a year is no different from an hour"),
        pytest.param(1, 10 * MINUTE, 60, id="a Job without pods is not looked at every second for ten minutes"),
        pytest.param(200, HOUR, 200, id="a pause that was longer from the start is kept"),
        pytest.param(5, -30, 5, id="a clock that was set back makes nobody impatient"),
    ],
)
def test_pause(first: float, waited: float, want: float) -> None:
    assert pause(first, waited) == pytest.approx(want)


def test_a_job_that_waits_for_an_hour_is_looked_at_less_than_a_hundred_times() -> None:
    waited, looks = 0.0, 0
    while waited < HOUR:
        waited += pause(5, waited)
        looks += 1
    assert looks < 100 and pause(5, HOUR) <= LONGEST
