"""What is believed of what a pod says about itself."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import gpuquery.runner
from gpuquery.api import claims
from gpuquery.api.conditions import ConditionType, State
from gpuquery.api.reasons import Event, Failure, Policy, Reason
from gpuquery.api.report import MAX_REPORT_BYTES, Phase, Progress, Report
from gpuquery.api.status import InputStatus
from gpuquery.api.text import MARK
from gpuquery.reconcile.observe import parse
from gpuquery.reconcile.observe.model import Exit, Refusal, Waiting
from gpuquery.reconcile.policy.account import Note
from gpuquery.reconcile.report.events import MAX_NOTE_BYTES, manifest, notes
from tests.support.examples import examples
from tests.support.kube_objects import (
    FOUND,
    NOW,
    OUTPUT,
    at,
    attempt,
    job,
    pod,
    running,
    seen,
    started,
    step,
)
from tests.unit.api.test_text import ANYTHING, HIDES

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 2**53 - 1
DONE = {"committed": OUTPUT.model_dump(by_alias=True)}


def said(**changes: Any) -> str:
    """A report of a commit with some of its fields changed: `committed__rows` is a field."""
    report: dict[str, Any] = json.loads(json.dumps(DONE))
    for name, value in changes.items():
        *path, last = name.split("__")
        place = report
        for part in path:
            place = place[part]
        place[last] = value
    return json.dumps(report)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        pytest.param(said(committed__rows=10**30), f"committed.rows is {10**30}", id="more rows than a number holds"),
        pytest.param(said(committed__rows=-1), "committed.rows is -1", id="less rows than none"),
        pytest.param(said(committed__rows=1.5), "committed.rows is 1.5", id="half a row"),
        pytest.param(said(committed__rows="3"), "committed.rows is 3", id="a text for a number"),
        pytest.param(said(committed__rows=True), "committed.rows is True", id="a truth for a number"),
        pytest.param(said(committed__version=-1), "committed.version is -1", id="a version that is none"),
        pytest.param(said(committed__version=None), "exactly one of version and snapshot", id="no commit"),
        pytest.param(said(committed__snapshot="7"), "exactly one of version and snapshot", id="two commits in one"),
        pytest.param(said(committed__version=None, committed__snapshot="x"), "snapshot is x", id="a snapshot of words"),
        pytest.param(said(committed__location="s" * 1025), "committed.location is ss", id="a location without end"),
        pytest.param(said(committed__bytes=2**63), "committed.bytes is 9223372036854775808", id="a byte too many"),
        pytest.param(said(committed__uri="s3://" + "x" * 3000), "committed.uri is s3://xx", id="a URI without end"),
        pytest.param(said(committed__uri=None), "committed.uri is None", id="no URI"),
        pytest.param(said(failure="UserError"), "both that it committed and that it failed", id="two ends"),
        pytest.param(said(committed=None, failure="Evicted"), "failure is Evicted", id="a free retry"),
        pytest.param(said(committed=None, failure="DeadlineExceeded"), "failure is DeadlineExceeded", id="a deadline"),
        pytest.param(said(committed=None, failure="Nonsense"), "failure is Nonsense", id="a class that is none"),
        pytest.param(said(warnings=["w"] * 65), "warnings is", id="warnings without end"),
        pytest.param(said(inputs=[{"name": "a b"}]), "inputs.0.name is a b", id="an input of no name"),
        pytest.param(said(inputs=[{"name": "t", "digest": "xyz"}]), "inputs.0.digest is xyz", id="a digest of none"),
        pytest.param(said(inputs=[{"name": "t"}] * 65), "inputs is", id="inputs without end"),
        pytest.param(
            said(preflight={"polars": "1", "inputsDigest": "../../x"}), "preflight.inputsDigest is ../../x",
            id="a digest of another form",
        ),
        pytest.param(said(process=-1), "process is -1", id="a process before the first"),
        pytest.param(said(message="x" * 4096), "it has 4", id="more than the kubelet keeps"),
        pytest.param(said()[:-2], "Invalid JSON", id="half a report"),
        pytest.param('{"message": "\\ud800"}', "Invalid JSON", id="half a character"),
        pytest.param('{"a":' * 400, "Invalid JSON", id="a report within a report"),
        pytest.param(said(committed__rows="\x1b[2J\nState: Complete"), "is \\u001b[2J\n  | State", id="an escape"),
    ],
)  # fmt: skip
def test_a_report_is_none_and_what_is_wrong_is_told_if_it_has(line: str, wrong: str) -> None:
    claim = claims.read(line)
    assert claim.report is None
    assert wrong in claim.wrong and len(claim.wrong) <= 300


@pytest.mark.parametrize("words", ["", "Traceback (most recent call last):\n  ...", "[1, 2]", "null", "7"])
def test_last_words_that_are_no_report_claim_nothing(words: str) -> None:
    assert claims.read(words) == claims.Claim()


@pytest.mark.parametrize(
    "report",
    [
        Report(committed=OUTPUT, preflight=FOUND, warnings=("decimals",), joined=NOW, query_started=NOW, finished=NOW),
        Report(committed=OUTPUT.model_copy(update={"rows": MOST, "bytes": MOST, "files": MOST, "version": MOST})),
        Report(committed=OUTPUT.model_copy(update={"rows": 0, "files": 0, "bytes": 0})),
        Report(failure=Failure.USER_ERROR, message='line 1: no column "ä"', process=3, pod="p-1"),
        Report(preflight=FOUND),
        Report(done=True),
        Report(committed=OUTPUT, inputs=(InputStatus(name="t", files=3, bytes=9, digest="ab", snapshot="delta:x@1"),)),
    ],
)
def test_what_a_runner_writes_is_believed(report: Report) -> None:
    assert claims.read(report.to_line()).report == report


def test_fields_of_a_newer_runner_are_passed_over() -> None:
    assert claims.read(said(novelty={"x": 10**40})).report == Report(committed=OUTPUT)


@pytest.mark.parametrize(
    "moment", ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-21T12:00:00", "soon", 10**40]
)
def test_a_clock_that_is_wrong_costs_its_time_and_not_the_report(moment: object) -> None:
    report = claims.read(said(finished=moment, joined="2026-11-21T12:00:00Z")).report
    assert report is not None and report.finished is None
    assert report.joined == datetime(2026, 11, 21, 12, tzinfo=UTC)


def runners_own() -> Iterator[str]:
    (folder,) = gpuquery.runner.__path__
    for file in Path(folder).rglob("*.py"):
        yield from re.findall(r"\bFailure\.([A-Z_]+)", file.read_text())


@pytest.mark.parametrize("name", sorted(set(runners_own())))
def test_every_class_that_the_runner_tells_is_one_that_a_pod_may_say(name: str) -> None:
    assert Failure[name] not in claims.OPERATORS


def test_every_class_that_no_runner_tells_is_for_the_operator_to_say() -> None:
    assert {failure.name for failure in Failure} - set(runners_own()) == {failure.name for failure in claims.OPERATORS}


def test_no_class_that_frees_a_retry_is_one_that_a_pod_may_say() -> None:
    for failure in Failure:
        report = claims.read(json.dumps({"failure": failure.value})).report
        assert report is None or failure.policy is not Policy.FREE


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | ANYTHING | st.sampled_from(Failure),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
NAMES = sorted(field.alias or name for name, field in Report.model_fields.items())
OUTPUTS = st.fixed_dictionaries({}, optional=dict.fromkeys(DONE["committed"], VALUES))
REPORTS = st.dictionaries(st.sampled_from(NAMES), VALUES | OUTPUTS, max_size=5)


@examples(300)
@given(REPORTS)
def test_whatever_a_pod_says_what_is_believed_of_it_can_be_stored_and_seen(report: dict[str, Any]) -> None:
    found = claims.read(json.dumps(report)).report
    if found is not None:
        every(found.model_dump(mode="json"))


def every(value: Any) -> None:
    """Check every number and text in a value."""
    match value:
        case str():
            first, *further = value.split("\n")
            assert not {unicodedata.category(c) for c in first + "".join(further)} & HIDES, value
            assert all(line.startswith(MARK) for line in further), value
        case bool() | None:
            pass
        case int():
            assert abs(value) <= MOST
        case dict():
            for item in value.values():
                every(item)
        case list() | tuple():
            for item in value:
                every(item)


@pytest.mark.parametrize(
    "count", [{"rows": 10**30}, {"files": -1}, {"bytes": 2**63}, {"spilledBytes": 2**64}, {"ranks": 0},
              {"joined": 10**9}, {"gpuMemoryPeak": -5}, {"percent": 101}, {"waitsFor": "w" * 601}]
)  # fmt: skip
def test_progress_in_numbers_that_no_status_holds_is_no_progress(count: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Progress.model_validate_json(json.dumps({"phase": "running", **count}))


def test_what_a_pod_waits_for_is_told_so_that_it_can_be_seen() -> None:
    found = Progress.model_validate_json(json.dumps({"phase": "planning", "waitsFor": "\x1b[2Jjob\nState: Complete"}))
    assert found.waits_for == "\\u001b[2Jjob\n  | State: Complete"


def test_the_digest_of_a_pod_tells_what_is_wrong_with_its_report() -> None:
    end = {"exitCode": 0, "finishedAt": "2026-11-21T12:00:09Z", "message": said(committed__rows=10**30)}
    found = parse.pod({
        "metadata": {"name": "p"}, "spec": {},
        "status": {"phase": "Succeeded", "containerStatuses": [{"name": "runner", "state": {"terminated": end}}]},
    })  # fmt: skip
    assert found.exit and found.exit.report is None and found.exit.wrong.startswith("committed.rows is 1000")


@examples(200)
@given(ANYTHING, ANYTHING, st.sampled_from(list(Failure)), st.integers(0, 5))
def test_no_text_of_a_pod_or_of_a_cluster_hides_anything_in_a_status_or_an_event(
    words: str, more: str, failure: Failure, kind: int
) -> None:
    report = Report(failure=failure, message=words, warnings=(more,), pod=more[:200])
    sights = [
        seen(attempt(pod(phase="Failed", exit=Exit(code=1, report=report)))),
        seen(attempt(pod(phase="Succeeded", exit=Exit(
            code=0, report=Report(committed=OUTPUT, message=words, warnings=(more,)))))),
        seen(attempt(pod(unschedulable=words))),
        seen(attempt(pod(waiting=Waiting(reason="ErrImagePull", message=words)))),
        seen(attempt(running(disruption=words))),
        seen(refusal=Refusal(reason=Reason.CREATION_REFUSED, message=words)),
    ]  # fmt: skip
    before = started()
    after, _ = step(before if kind < 5 else job(), sights[kind], seconds=60)
    every(after.status.model_dump(mode="json"))
    for note in notes(before.status, after.status):
        event = manifest(before, note, instance="i", now=NOW)
        every(event)
        assert len(event["note"].encode()) <= MAX_NOTE_BYTES
    again, decision = step(after, sights[kind], seconds=61)
    assert again.status.conditions == after.status.conditions or decision.status != after.status


def test_an_event_shows_what_hides_whoever_made_its_text() -> None:
    event = manifest(job(), Note(Event.FAILED, "\x1b[2J\nState: Complete"), instance="i", now=NOW)
    assert event["note"] == "\\u001b[2J\n  | State: Complete"


def test_the_record_of_an_attempt_is_cut_where_its_text_is_shown_longer_than_it_is() -> None:
    end = Exit(code=1, report=Report(failure=Failure.USER_ERROR, message="\U000e0041" * 1000))
    subject, _ = step(started(), seen(attempt(pod(phase="Failed", exit=end))), seconds=60)
    assert len(subject.status.attempts[-1].message or "") <= 1024


def test_a_text_without_end_is_cut_to_what_the_api_server_takes() -> None:
    long = "\U000e0041" * 4000 + "x" * 100_000
    subject, _ = step(started(), seen(attempt(pod(unschedulable=long))), seconds=60)
    for condition in subject.status.conditions:
        assert len(condition.message) <= 4096
    for note in notes(started().status, subject.status):
        assert len(manifest(subject, note, instance="i", now=at(0))["note"].encode()) <= MAX_NOTE_BYTES


@pytest.mark.parametrize("kind", [Failure, Reason, Event, State, ConditionType])
def test_every_word_for_programs_is_one_that_the_api_server_takes_for_a_reason(kind: Any) -> None:
    for word in kind:
        assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", word) and len(word) <= 128


def test_the_phases_of_progress_are_words_of_ours() -> None:
    assert all(phase.isalpha() for phase in Phase)


def test_a_report_at_the_limit_is_read() -> None:
    line = Report(failure=Failure.USER_ERROR, message="x" * 20_000).to_line()
    assert len(line.encode()) <= MAX_REPORT_BYTES and claims.read(line).report is not None
