"""What an exception says, whatever its author has made of it: told soon, storable, without secrets."""

from __future__ import annotations

import time

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.report import MAX_REPORT_BYTES, Report
from gpuquery.api.status import OutputStatus
from gpuquery.runner import main as query
from gpuquery.runner.failures import words
from tests.support.runner import plan, run


class RaisesError(Exception):
    def __str__(self) -> str:
        raise SystemExit("no")


class RecursesError(Exception):
    def __str__(self) -> str:
        return str(self)


class NeverEndsError(Exception):
    def __str__(self) -> str:
        while self:
            time.sleep(0.01)
        return ""


class NoTextError(Exception):
    def __str__(self) -> str:
        return 3  # type: ignore[return-value]  # noqa: PLE0307


class Liar(str):
    def __len__(self) -> int:
        raise RuntimeError

    def __getitem__(self, _: object) -> str:
        raise RuntimeError


def noted(exc: BaseException) -> BaseException:
    exc.add_note("see the runbook")
    return exc


WHAT = [
    pytest.param(lambda: ValueError("cannot read \udcff.csv"), ["cannot read \\udcff.csv"], id="half a character"),
    pytest.param(lambda: ValueError("a\0b"), ["a\\x00b"], id="NUL"),
    pytest.param(lambda: ValueError("a\x1b[31mred\x1b[0m"), ["[31mred"], id="an escape of a terminal"),
    pytest.param(lambda: ValueError("x" * 50_000_000), ["xxxx"], id="fifty megabytes"),
    pytest.param(ValueError, ["ValueError"], id="nothing"),
    pytest.param(lambda: KeyError("day"), ["day"], id="a key"),
    pytest.param(RaisesError, ["RaisesError", "SystemExit"], id="a text that raises"),
    pytest.param(RecursesError, ["RecursesError", "RecursionError"], id="a text that calls itself"),
    pytest.param(NeverEndsError, ["NeverEndsError", "within 2 s"], id="a text that never ends"),
    pytest.param(NoTextError, ["NoTextError", "TypeError"], id="a text that is none"),
    pytest.param(lambda: ValueError(Liar("mine")), ["mine"], id="a text with methods of its own"),
    pytest.param(
        lambda: ExceptionGroup("two", [ValueError("a\udc80"), ExceptionGroup("in", [KeyError("b")])]),
        ["two (2 sub-exceptions)", "ValueError: a\\udc80", "KeyError: b"],
        id="a group",
    ),
    pytest.param(
        lambda: BaseExceptionGroup("many", [KeyboardInterrupt(n) for n in range(9)]), ["and 4 more"], id="a large group"
    ),
    pytest.param(lambda: noted(ValueError("why")), ["why", "see the runbook"], id="an exception with a note"),
    pytest.param(KeyboardInterrupt, ["KeyboardInterrupt"], id="an order to stop"),
]


@pytest.mark.parametrize(("make", "parts"), WHAT)
def test_every_exception_has_a_text_that_can_be_stored_and_comes_soon(make, parts):
    exc = make()
    began = time.monotonic()
    text = words.said(exc)
    assert words.said(exc) == text
    assert time.monotonic() - began < 10
    assert len(text.encode()) <= 4 * words.MAX_CHARACTERS
    for part in parts:
        assert part in text


@pytest.mark.parametrize(("make", "parts"), WHAT)
def test_whatever_a_query_raises_its_report_tells_it_with_the_authors_own_line(tmp_path, monkeypatch, make, parts):
    monkeypatch.setattr(pl, "raise_it", lambda: (_ for _ in ()).throw(make()), raising=False)
    source = "import polars as pl\ndef query(inputs, params):\n    next(pl.raise_it())\n"
    report = run(plan(tmp_path, source, language="python"))
    assert report.failure is Failure.USER_ERROR
    line = query.line_of(report)
    assert len(line.encode()) <= MAX_REPORT_BYTES
    read = Report.from_line(line)
    assert read is not None
    assert read.failure is Failure.USER_ERROR
    for part in parts:
        assert part in read.message
    assert "query.py line 3" in read.message


def test_a_text_holds_no_secret_though_it_ends_with_a_line_break(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted\n")
    text = words.said(ValueError("Invalid header value b'planted\\n', planted\n, planted, \udcff"))
    assert "planted" not in text
    assert "\\udcff" in text


COMMITTED = OutputStatus(uri="s3://lake/x", version=3, files=1, rows=7, bytes=1, partitions=0)


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(Report(failure=Failure.USER_ERROR, message="a\udcff"), id="of a failure"),
        pytest.param(Report(committed=COMMITTED, warnings=("a\udcff",)), id="of a commit"),
    ],
)
def test_a_report_with_a_text_that_cannot_be_stored_still_says_how_it_ended(report):
    read = Report.from_line(query.line_of(report))
    assert read is not None
    assert (read.failure, read.committed) == (report.failure, report.committed)
