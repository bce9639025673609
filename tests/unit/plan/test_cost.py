"""GPU-hours: coarse, but of the right size, and silent where nothing is known."""

from __future__ import annotations

import pytest

from gpuquery.api.status import PreflightStatus
from gpuquery.plan.cost import START_SECONDS, cost

TB = 10**12


def found(**sizes: object) -> PreflightStatus:
    return PreflightStatus.model_validate({"polars": "1.44.2", "files": 1, "inputBytes": TB, **sizes})


@pytest.mark.parametrize(
    ("sizes", "replicas", "gpus", "seconds"),
    [
        pytest.param({}, 1, 1, START_SECONDS + 1000, id="a terabyte at a gigabyte per second"),
        pytest.param({}, 2, 5, START_SECONDS + 100, id="ten GPUs read in a tenth of the time"),
        pytest.param({"peakBytes": TB}, 1, 1, START_SECONDS + 1000, id="what is held costs nothing beside reading"),
        pytest.param({"peakBytes": TB, "ioBound": False}, 1, 1, START_SECONDS + 2000, id="and counts beside computing"),
        pytest.param({"inputBytes": 0, "files": 0}, 1, 1, START_SECONDS, id="a query without inputs"),
    ],
)
def test_time_follows_from_bytes_and_gpus(sizes: dict[str, object], replicas: int, gpus: int, seconds: int) -> None:
    made = cost(found(**sizes), workers=replicas * gpus)
    assert made is not None
    assert (made.seconds, made.gpus) == (seconds, replicas * gpus)
    assert made.gpu_hours == pytest.approx(seconds * replicas * gpus / 3600)
    assert "assumptions" in made.basis and "1 GB/s" in made.basis


@pytest.mark.parametrize(("sizes", "gpus"), [({}, 0), ({"inputBytes": 0}, 1)])
def test_nothing_is_said_without_a_gpu_or_without_sizes(sizes: dict[str, object], gpus: int) -> None:
    assert cost(found(**sizes), workers=gpus) is None
