"""The small receipt in the status: times by the operator's clock alone, and what the pod tells."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.receipt import ReceiptClaim
from gpuquery.api.status import AttemptStatus, DaskStatus
from gpuquery.reconcile.observe.model import Attempt
from gpuquery.reconcile.observe.parse import MAX_IMAGE
from gpuquery.reconcile.observe.parse import pod as parsed
from gpuquery.reconcile.policy.account import Account
from gpuquery.reconcile.policy.outcome import Committed
from gpuquery.reconcile.report.receipt import receipt
from tests.support.kube_objects import (
    CHECKED,
    COMMITTED,
    NOW,
    OUTPUT,
    PYTHON,
    attempt,
    check,
    checking,
    ended,
    failed_report,
    job,
    running,
    seen,
    step,
)

CLAIM = ReceiptClaim(query="1" * 64, key="2" * 64, committing=4.0)
DONE = COMMITTED.model_copy(update={"receipt": CLAIM})
GPUS: dict[str, Any] = {
    "engine": "rapidsmpf", "cluster": "distributed", "runtime": {"release": "26.10", "image": "r:1"},
    "workers": {"replicas": 1, "gpus": 4}, "preflight": "never", "query": PYTHON,
}  # fmt: skip


def test_a_complete_job_has_the_seconds_of_each_phase() -> None:
    subject, _ = step(job(preflight="never"))
    subject, _ = step(subject, seen(attempt(running())), seconds=30)
    assert subject.status.receipt is None
    subject, _ = step(subject, seen(attempt(ended(0, DONE, image="img@sha256:ab"))), seconds=100)
    found = subject.status.receipt
    assert found is not None and (found.query, found.key, found.image) == ("1" * 64, "2" * 64, "img@sha256:ab")
    assert found.seconds.model_dump(exclude_none=True) == {
        "queued": 0, "starting": 30, "running": 66, "committing": 4
    }  # fmt: skip
    assert found.gpus == 0 and found.gpu_seconds.model_dump(exclude_none=True) == {}


def test_seconds_of_gpus_count_what_earlier_attempts_have_wasted() -> None:
    subject, _ = step(job(**GPUS))
    subject, _ = step(subject, seen(attempt(ended(1, failed_report(Failure.WORKER_LOST)))), seconds=50)
    subject, _ = step(subject, seen(Attempt(number=1)), seconds=100)
    subject, _ = step(subject, seen(attempt(running(), number=2)), seconds=110)
    subject, _ = step(subject, seen(attempt(ended(0, DONE), number=2)), seconds=170)
    found = subject.status.receipt
    assert found is not None and found.gpus == 4
    assert found.seconds.model_dump(exclude_none=True) == {
        "queued": 0, "wasted": 50, "starting": 10, "running": 56, "committing": 4
    }  # fmt: skip
    assert found.gpu_seconds.model_dump(exclude_none=True) == {
        "wasted": 200, "starting": 40, "running": 224, "committing": 16
    }  # fmt: skip


def test_a_cluster_of_somebody_else_costs_the_job_no_gpu() -> None:
    subject, _ = step(job(**GPUS))
    assert subject.status.plan is not None
    for way, want in (("attach", {}), ("operator", {"starting": 0, "running": 40})):
        plan = subject.status.plan.model_copy(update={"dask": DaskStatus(way=way, workers=4)})
        record = AttemptStatus(id=1, started=NOW, ended=NOW + timedelta(seconds=10))
        account = Account(plan=plan, attempt=record, committed=Committed(OUTPUT), ended=True)
        told = receipt(subject, account, NOW)
        assert told is not None and told.gpus == 4
        assert told.gpu_seconds.model_dump(exclude_none=True) == want


def test_the_preflight_holds_no_gpu() -> None:
    subject, _ = step(job(**{**GPUS, "preflight": "always"}))
    subject, _ = step(subject, checking(check(ended(0, CHECKED))), seconds=7)
    subject, _ = step(subject, seen(attempt(running())), seconds=9)
    subject, _ = step(subject, seen(attempt(ended(0, COMMITTED))), seconds=20)
    found = subject.status.receipt
    assert found is not None and found.seconds.preflight == 7 and found.gpu_seconds.preflight is None
    assert (found.query, found.seconds.committing) == (None, None), "an older runner tells nothing of it"


@pytest.mark.parametrize("claimed", [0.0, 1e9])
def test_a_commit_is_no_longer_than_its_attempt_whatever_a_pod_claims(claimed: float) -> None:
    report = COMMITTED.model_copy(update={"receipt": ReceiptClaim(committing=claimed)})
    subject, _ = step(job(preflight="never"))
    subject, _ = step(subject, seen(attempt(running())), seconds=10)
    subject, _ = step(subject, seen(attempt(ended(0, report))), seconds=20)
    found = subject.status.receipt
    assert found is not None and found.seconds.running == max(0, 10 - claimed)


def test_the_digest_of_the_image_is_the_kubelets_and_bounded() -> None:
    status = {"containerStatuses": [{"name": "runner", "imageID": "r.example.com/x@sha256:" + "a" * 5000}]}
    found = parsed({"metadata": {"name": "p"}, "status": status})
    assert found.image.startswith("r.example.com/x@sha256:") and len(found.image) == MAX_IMAGE
    assert parsed({"metadata": {"name": "p"}}).image == ""
