"""Commitment: what is known of a commit, and by whose word."""

from __future__ import annotations

from typing import Any

import pytest

from gpuquery.api.reasons import Failure, Reason
from gpuquery.api.status import Condition, OutputStatus
from gpuquery.reconcile.report.commitment import commitment
from tests.support.kube_objects import OUTPUT

F = Failure
TRUE = Condition(type="OutputCommitted", status="True", reason=Reason.COMMITTED, message="version 1 of x")
MAYBE = Condition(type="OutputCommitted", status="Unknown", reason=Reason.UNCONFIRMED, message="a pod tells so")
FALSE = Condition(type="OutputCommitted", status="False", reason=Reason.NOT_COMMITTED, message="nothing")


@pytest.mark.parametrize(
    ("known", "hinted", "committed", "failure", "ended", "want"),
    [
        pytest.param(None, False, None, None, False, "False", id="nothing was said"),
        pytest.param(FALSE, True, None, None, False, "Unknown", id="progress tells of a commit: a hint"),
        pytest.param(MAYBE, False, None, None, False, "Unknown", id="a hint is not forgotten"),
        pytest.param(MAYBE, False, OUTPUT, None, False, "True", id="a report confirms it"),
        pytest.param(FALSE, False, OUTPUT, None, True, "True", id="a report needs no hint"),
        pytest.param(TRUE, False, None, F.WORKER_LOST, True, "True", id="what a report has said stays"),
        pytest.param(MAYBE, False, None, F.USER_ERROR, True, "False", id="a failure of the query denies a hint"),
        pytest.param(FALSE, True, None, F.USER_ERROR, True, "False", id="also one that comes along with it"),
        pytest.param(MAYBE, False, None, F.OUTPUT_EXISTS, True, "False", id="an output that exists denies it"),
        pytest.param(MAYBE, False, None, F.WORKER_LOST, False, "Unknown", id="a pod that was lost denies nothing"),
        pytest.param(MAYBE, False, None, F.STORAGE_UNAVAILABLE, True, "Unknown", id="a store may fail after it"),
        pytest.param(MAYBE, False, None, F.DEADLINE_EXCEEDED, True, "Unknown", id="a deadline ends what nobody knows"),
        pytest.param(FALSE, False, None, F.WORKER_LOST, True, "False", id="a failure without a hint is plain"),
    ],
)  # fmt: skip
def test_commitment(
    known: Condition | None,
    hinted: bool,
    committed: OutputStatus | None,
    failure: Failure | None,
    ended: bool,
    want: str,
) -> None:
    status, reason, message = commitment(known, hinted=hinted, committed=committed, failure=failure, ended=ended)
    assert status == want
    assert reason == {"True": Reason.COMMITTED, "Unknown": Reason.UNCONFIRMED, "False": Reason.NOT_COMMITTED}[status]
    assert message


@pytest.mark.parametrize(
    ("output", "want"),
    [
        pytest.param({"uri": "s3://lake/out/data/", "version": 3}, "3 of s3://lake/out/data/: 2", id="a folder"),
        pytest.param({"uri": "s3://lake/out/", "version": 0}, "version 0 of s3://lake/out/: 2", id="a Delta table"),
        pytest.param(
            {"uri": "lake: sales.orders", "snapshot": "42", "location": "s3://analytics/orders"},
            "snapshot 42 of lake: sales.orders at s3://analytics/orders: 2",
            id="an Iceberg table",
        ),
        pytest.param({"uri": "lake: sales.orders", "snapshot": "42"}, "42 of lake: sales.orders: 2", id="without more"),
    ],
)
def test_a_commit_is_named_by_its_number_and_its_place(output: dict[str, Any], want: str) -> None:
    committed = OutputStatus(files=1, rows=2, bytes=3, partitions=0, **output)
    _, _, message = commitment(None, hinted=False, committed=committed, failure=None, ended=True)
    assert want in message
