"""Logs and terminals: words of others stand there so that everything can be seen."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.report import Phase, Progress, Report
from gpuquery.app.main import _logging
from gpuquery.app.settings import Settings
from gpuquery.cli.main import main
from gpuquery.cli.show import outcome
from gpuquery.runner.failures.redaction import redact
from gpuquery.runner.progress import Tracker

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "red \x1b]0;title\x07\x1b[2J\x9b1m\u202e\ud800\nState: Complete"
SEEN = "red \\u001b]0;title\\u0007\\u001b[2J\\u009b1m\\u202e\\ud800\n  | State: Complete"
HIDDEN = ("\x1b", "\x07", "\x9b", "\u202e", "\ud800", "\nState")


@pytest.fixture
def _root_logger(monkeypatch: pytest.MonkeyPatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    yield
    root.setLevel(level)


@pytest.mark.usefixtures("_root_logger")
@pytest.mark.parametrize("form", ["plain", "json"])
def test_the_operators_log_shows_what_hides_in_a_message_and_in_a_traceback(
    form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    _logging(Settings(log_format=form))
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        logging.getLogger("gpuquery.test").warning("a/b: %s", error, exc_info=error)
    logged = capfd.readouterr().err
    assert "red" in logged and not [each for each in HIDDEN if each in logged]
    if form == "json":
        assert "title" in json.loads(logged)["message"], "one line, and JSON"


def test_the_runners_log_shows_what_hides(capfd: pytest.CaptureFixture[str]) -> None:
    Tracker(lambda _: None).log(HOSTILE)
    assert SEEN in capfd.readouterr().err


def test_what_a_runner_reports_shows_what_hides() -> None:
    assert redact(HOSTILE) == SEEN.replace("\n  | ", " ")


def test_a_phase_with_a_detail_that_hides_is_logged_visibly(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Progress] = []
    Tracker(told.append).enter(Phase.RUNNING, HOSTILE)
    assert SEEN in capfd.readouterr().err and told[-1].phase is Phase.RUNNING


def test_the_command_line_prints_visibly_how_a_run_ended(capfd: pytest.CaptureFixture[str]) -> None:
    outcome("job", Report(failure=Failure.USER_ERROR, message=HOSTILE, warnings=(HOSTILE,)))
    printed = capfd.readouterr()
    assert printed.err.count(SEEN) == 2 and printed.out == ""


def test_validate_prints_visibly_what_a_hostile_file_says(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(json.dumps({
        "apiVersion": "gpuquery.io/v1alpha1", "kind": "GpuQueryJob", "metadata": {"name": "q"},
        "spec": {"query": {"sql": 'SELECT * FROM "\x1b]0;title\x07\x1b[2Jnothere"'},
                 "output": {"uri": f"file://{tmp_path}/out"}},
    }))  # fmt: skip
    assert main(["validate", str(file)]) != 0
    printed = capfd.readouterr()
    assert "nothere" in printed.err and "\x1b" not in printed.err and "\x07" not in printed.err
