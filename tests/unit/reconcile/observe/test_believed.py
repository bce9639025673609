"""Which commit of a report can be this job's: the place and the kind of its number are known before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.report import Report
from gpuquery.api.status import OutputStatus
from gpuquery.api.text import CUT
from gpuquery.reconcile.observe.believed import believed
from tests.support.kube_objects import attempt, ended, job, seen

if TYPE_CHECKING:
    from gpuquery.reconcile.observe.model import Exit

HIVE = {"uri": "s3://lake/out"}
DELTA = {"uri": "s3://lake/out", "delta": {}}
ICEBERG = {"table": {"catalog": "lake", "name": "sales.orders"}}


def looked_at(output: dict[str, Any], **told: Any) -> Exit:
    """What is known of the end of a pod that reports a commit."""
    committed = OutputStatus(**{"files": 1, "rows": 2, "bytes": 3, "partitions": 0, **told})
    pods = attempt(ended(0, Report(committed=committed)))
    (known,) = believed(job(output=output), seen(pods)).attempts[0].pods
    assert known.exit is not None
    return known.exit


@pytest.mark.parametrize(
    ("output", "told"),
    [
        pytest.param(HIVE, {"uri": "s3://lake/out/data/", "version": 1}, id="the first version of a folder"),
        pytest.param(DELTA, {"uri": "s3://lake/out/", "version": 0}, id="the first version of a Delta table"),
        pytest.param(ICEBERG, {"uri": "lake: sales.orders", "snapshot": "42"}, id="a snapshot of an Iceberg table"),
        pytest.param(ICEBERG, {"uri": f"lake: sal{CUT}", "snapshot": "42"}, id="a name that was too long"),
    ],
)
def test_a_commit_to_the_output_is_believed(output: dict[str, Any], told: dict[str, Any]) -> None:
    report = looked_at(output, **told).report
    assert report is not None and report.committed is not None
    assert report.committed.uri == job(output=output).spec.output.published


@pytest.mark.parametrize(
    ("output", "told", "wrong"),
    [
        pytest.param(
            HIVE, {"uri": "s3://lake/else/", "version": 1}, "this job writes s3://lake/out/data/", id="another folder"
        ),
        pytest.param(
            ICEBERG,
            {"uri": "lake: sales.totals", "snapshot": "42"},
            "this job writes lake: sales.orders",
            id="another table",
        ),
        pytest.param(
            HIVE, {"uri": "s3://lake/out/data/", "version": 0}, "the first version of a folder is 1", id="version 0"
        ),
        pytest.param(
            DELTA,
            {"uri": "s3://lake/out/", "snapshot": "42"},
            "a commit to s3://lake/out is a version",
            id="no version",
        ),
        pytest.param(
            ICEBERG,
            {"uri": "lake: sales.orders", "version": 7},
            "a commit to an Iceberg table is a snapshot",
            id="a version",
        ),
    ],
)
def test_a_commit_that_cannot_be_this_jobs_is_none(output: dict[str, Any], told: dict[str, Any], wrong: str) -> None:
    known = looked_at(output, **told)
    assert known.report is None and wrong in known.wrong
