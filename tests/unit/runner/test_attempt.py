"""One attempt in this process: what it tells of itself, and what it makes of an order to stop at a bad moment."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.report import Phase, Progress, Report
from gpuquery.runner import attempt as attempts
from gpuquery.runner import main as query
from gpuquery.runner.attempt import Attempt
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.commit import Committer
from gpuquery.runner.progress import Tracker
from gpuquery.runner.stores.posix import PosixStore
from tests.support.runner import plan, result, run

if TYPE_CHECKING:
    from pathlib import Path


def refused(*_: object) -> None:
    raise JobError(Failure.STORAGE_AUTH, "no right to delete")


def test_a_commit_record_is_told_before_its_files_are_published(tmp_path: Path) -> None:
    seen: list[Progress] = []
    assert run(plan(tmp_path, "select 1 as a"), seen).committed
    phases = list(dict.fromkeys(progress.phase for progress in seen))
    assert phases == [Phase.PLANNING, Phase.RUNNING, Phase.COMMITTING, Phase.PUBLISHING, Phase.DONE]


def test_an_output_that_is_published_is_a_success_even_if_nothing_can_be_tidied_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = {"uri": f"file://{tmp_path}/out", "mode": "append"}
    assert run(plan(tmp_path, "select 1 as a", output=output)).committed
    delete = PosixStore.delete
    monkeypatch.setattr(
        PosixStore, "delete", lambda self, keys: refused() if any("rank" in key for key in keys) else delete(self, keys)
    )
    monkeypatch.setattr(PosixStore, "abort", refused)
    # Appending no rows leaves an upload that the record does not need.
    report = run(plan(tmp_path, "select 1 as a limit 0", output=output))
    assert report.committed and report.committed.version == 2, report.message
    assert result(tmp_path).height == 1


def test_an_attempt_that_is_stopped_while_it_publishes_does_not_deny_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGALRM)
        signal.pause()

    def raised(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr(attempts, "PROCESS_COMMIT_SECONDS", 0.1)
    monkeypatch.setattr(signal, "pause", lambda: forever.wait(5))
    forever = attempts.threading.Event()
    monkeypatch.setattr(Committer, "publish", interrupt)
    usual = signal.signal(signal.SIGALRM, raised)
    attempt = Attempt(plan(tmp_path, "select 1 as a"), Tracker(lambda _: None, quiet=True))
    try:
        with pytest.raises(Interrupted):
            attempt.run()
        report = attempt.stop("stopped by SIGTERM")
    finally:
        forever.set()
        signal.signal(signal.SIGALRM, usual)
    assert report.failure is Failure.WORKER_LOST
    assert "after the commit" in report.message and "before the result" not in report.message


@pytest.mark.parametrize("moment", ["reading the plan", "just after the end"])
def test_an_order_to_stop_at_any_moment_leaves_a_true_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    file = tmp_path / "plan.json"
    file.write_text(plan(tmp_path, "select 1 as a").model_dump_json(by_alias=True))
    load, run_attempt = query.plans.load, Attempt.run

    def stopped_load(path: Path) -> object:
        signal.raise_signal(signal.SIGTERM)
        return load(path)

    def stopped_run(self: Attempt) -> Report:
        report = run_attempt(self)
        signal.raise_signal(signal.SIGTERM)
        return report

    if moment == "reading the plan":
        monkeypatch.setattr(query.plans, "load", stopped_load)
    else:
        monkeypatch.setattr(Attempt, "run", stopped_run)
    usual = signal.getsignal(signal.SIGTERM)
    try:
        report = query._run(file, None)
    finally:
        signal.signal(signal.SIGTERM, usual)
    if moment == "reading the plan":
        assert report.failure is Failure.WORKER_LOST and "SIGTERM" in report.message
    else:
        assert report.committed and report.committed.rows == 1
