"""A query that speaks for the operator, in a real pod's process: what arrives, and what is believed of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api import claims
from gpuquery.plan.plan import Language
from gpuquery.reconcile.observe.believed import believed
from gpuquery.reconcile.observe.model import Exit
from tests.support.forgery import RAISING, committed, forging
from tests.support.kube_objects import attempt, job, pod, seen
from tests.support.pod import WAIT_SECONDS, Pod
from tests.support.runner import plan

if TYPE_CHECKING:
    from pathlib import Path


def last_words(tmp_path: Path, python: str) -> str:
    """Run a query as a pod does; returns its termination message."""
    ran = Pod(tmp_path, plan(tmp_path, python, language=Language.PYTHON))
    ran.process.communicate(timeout=WAIT_SECONDS)
    return ran.log.read_text()


@pytest.mark.parametrize(
    ("report", "wrong"),
    [
        pytest.param(
            committed("s3://lake/out/data/", rows=10**30), "committed.rows is 1000", id="a number that no one holds"
        ),
        pytest.param({"failure": "Evicted", "message": "again"}, "failure is Evicted", id="a free retry"),
        pytest.param(
            committed("s3://lake/marts/revenue/data/"), "and this job writes s3://lake/out/data/", id="another table"
        ),
    ],
)
def test_a_report_that_a_query_has_forged_is_none(tmp_path: Path, report: dict[str, Any], wrong: str) -> None:
    claim = claims.read(last_words(tmp_path, forging(report)))
    end = Exit(code=0, report=claim.report, wrong=claim.wrong)
    (known,) = believed(job(), seen(attempt(pod(phase="Succeeded", exit=end)))).attempts[0].pods
    assert known.exit and known.exit.report is None and wrong in known.exit.wrong


def test_a_forged_report_that_only_flatters_its_own_job_is_believed_and_told_visibly(tmp_path: Path) -> None:
    """By design: the operator cannot look into the table, and the job is its author's."""
    report = claims.read(last_words(tmp_path, forging(committed("s3://lake/out/data/")))).report
    assert report is not None and report.committed is not None and report.committed.rows == 123_456_789
    assert report.message == "audited by finance\n  | State: Complete"


def test_an_exception_that_paints_over_a_terminal_arrives_so_that_it_can_be_seen(tmp_path: Path) -> None:
    report = claims.read(last_words(tmp_path, RAISING)).report
    assert report is not None and "all is well" in report.message
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(report.message)
    assert all(line.startswith("  | ") for line in report.message.split("\n")[1:])
