"""A job whose result is there already: it completes in its preflight, and asks for no GPU."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gpuquery.api.claims import read
from gpuquery.api.reasons import Event, Failure, Reason
from gpuquery.api.report import Report
from gpuquery.api.reuse import ReuseStatus
from gpuquery.reconcile.observe.model import Attempt
from gpuquery.reconcile.report.events import notes
from tests.support.kube_objects import (
    CHECKED,
    COMMITTED,
    FOUND,
    OUTPUT,
    attempt,
    check,
    checking,
    condition,
    ended,
    failed_report,
    job,
    pod,
    running,
    seen,
    step,
    told,
)

HIT = ReuseStatus(reused=True, job="marts/yesterday", commit="version 1")
MISS = ReuseStatus(job="marts/yesterday", commit="version 1", differs="input orders: 3 files more")
REUSED = Report(committed=OUTPUT, preflight=FOUND, reuse=HIT)
SPEC: dict[str, Any] = {
    "reuse": {"maxAge": "24h"}, "output": {"uri": "s3://lake/out", "mode": "overwrite"}, "preflight": "always"
}  # fmt: skip


def test_a_preflight_that_finds_the_result_completes_the_job_without_an_attempt() -> None:
    before, _ = step(job(**SPEC))
    assert told(before, "Reused") == ("Unknown", Reason.NOT_STARTED)
    subject, decision = step(before, checking(check(ended(0, REUSED))), seconds=5)
    assert told(subject, "Complete") == ("True", Reason.COMPLETED) and subject.status.state == "Complete"
    assert condition(subject, "Complete").message.startswith("the output is committed by job marts/yesterday")
    assert told(subject, "Reused") == ("True", Reason.SAME_RESULT)
    assert "version 1 was committed by job marts/yesterday" in condition(subject, "Reused").message
    assert told(subject, "OutputCommitted")[0] == "True" and told(subject, "Preflight")[0] == "True"
    assert subject.status.attempt is None and not decision.creates
    assert subject.status.output == OUTPUT and subject.status.plan is not None
    found = subject.status.receipt
    assert found is not None and found.reused == "marts/yesterday" and found.gpu_seconds.starting is None
    assert Event.COMPLETE in [note.event for note in notes(before.status, subject.status)]
    later, decision = step(subject, checking(check(ended(0, REUSED))), seconds=9)
    assert later.status == subject.status and not decision.creates, "it has ended"


def test_no_job_is_complete_while_the_pod_of_its_preflight_is_alive() -> None:
    subject, _ = step(job(**SPEC))
    over = ended(0, REUSED).exit
    subject, _ = step(subject, checking(check(pod(phase="Running", exit=over))), seconds=5)
    assert told(subject, "Complete")[0] == "False"
    subject, _ = step(subject, checking(check(ended(0, REUSED))), seconds=8)
    assert told(subject, "Complete")[0] == "True"


def test_a_miss_says_what_differs_and_the_attempt_follows() -> None:
    subject, _ = step(job(**SPEC))
    subject, decision = step(subject, checking(check(ended(0, CHECKED.model_copy(update={"reuse": MISS})))), seconds=5)
    assert told(subject, "Reused") == ("False", Reason.NOT_THE_SAME)
    assert condition(subject, "Reused").message.startswith("input orders: 3 files more (version 1 by job marts/")
    assert "Job" in [one["kind"] for one in decision.creates] and subject.status.attempt == 1
    subject, _ = step(subject, seen(attempt(running())), seconds=6)
    subject, _ = step(subject, seen(attempt(ended(0, COMMITTED))), seconds=30)
    assert told(subject, "Reused") == ("False", Reason.NOT_THE_SAME), "an attempt that tells nothing changes nothing"
    assert told(subject, "Complete")[0] == "True"
    receipt = subject.status.receipt
    assert receipt is not None and receipt.reused == ""


def test_without_a_pod_of_its_own_the_attempt_finds_it() -> None:
    subject, _ = step(job(**{**SPEC, "preflight": "never"}))
    subject, _ = step(subject, seen(attempt(ended(0, REUSED.model_copy(update={"preflight": None})))), seconds=9)
    assert (told(subject, "Reused")[0], told(subject, "Complete")[0]) == ("True", "True")


def test_a_failure_says_why_nothing_was_reused() -> None:
    failed = failed_report(Failure.OUTPUT_EXISTS, "the output has version 1").model_copy(update={"reuse": MISS})
    subject, _ = step(job(**{**SPEC, "output": {"uri": "s3://lake/out"}}))
    subject, _ = step(subject, checking(check(ended(1, failed))), seconds=5)
    assert told(subject, "Failed") == ("True", Failure.OUTPUT_EXISTS)
    assert told(subject, "Reused") == ("False", Reason.NOT_THE_SAME)


def test_a_pod_cannot_end_a_job_that_did_not_ask_for_reuse_nor_name_another_table() -> None:
    subject, _ = step(job(preflight="always"))
    subject, decision = step(subject, checking(check(ended(0, REUSED))), seconds=5)
    assert told(subject, "Complete")[0] == "False" and decision.creates
    assert not [c for c in subject.status.conditions if c.type == "Reused"]
    other = REUSED.model_copy(update={"committed": OUTPUT.model_copy(update={"uri": "s3://lake/other/data/"})})
    subject, _ = step(job(**SPEC))
    subject, _ = step(subject, checking(check(ended(0, other))), seconds=5)
    assert told(subject, "Complete")[0] == "False"


def test_an_operator_that_was_restarted_decides_the_same() -> None:
    subject, _ = step(job(**SPEC), checking(check(ended(0, REUSED))), seconds=5)
    assert told(subject, "Complete")[0] == "True" and told(subject, "Reused")[0] == "True"
    assert not step(subject, seen(Attempt(number=1)), seconds=9)[1].creates


@pytest.mark.parametrize(
    "claim",
    [
        {"reused": True},
        {"reused": True, "job": "a/b", "commit": "version 2"},
        {"reused": True, "commit": "version 1"},
        {"differs": "x" * 301},
        {"job": "x" * 513},
    ],
)
def test_a_claim_that_names_no_commit_is_not_believed(claim: dict[str, Any]) -> None:
    line = json.loads(COMMITTED.to_line()) | {"reuse": claim}
    assert read(json.dumps(line)).wrong
    told = read(json.dumps(json.loads(COMMITTED.to_line()) | {"reuse": {"differs": "a\x1b[2K"}}))
    assert told.report is not None and told.report.reuse is not None and "\x1b" not in told.report.reuse.differs
