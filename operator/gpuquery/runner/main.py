"""The query process: reads the plan, runs the attempt, leaves a report.

It is a child of the supervisor, its only one or one rank of several: a crash, an abort in native code or the kernel's
OOM killer takes this process and leaves one that can say so. What is known of a fault by then is in the report's file
already: each line there is a report, and the last one counts.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gpuquery.api.reasons import Failure
from gpuquery.api.report import Progress, Report
from gpuquery.plan.plan import Plan, Processes, Purpose
from gpuquery.runner import engines, plans
from gpuquery.runner.attempt import Attempt
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.words import named, storable
from gpuquery.runner.progress import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from gpuquery.runner.coordination.client import Client


UNTOLD = 3
"""Exit code of a process that could not leave its report."""
_BARE = "the attempt's report could not be made: the pod's log says why"


class Stopped(BaseException):
    """SIGTERM came: the pod is to end."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the plan; exit code 0 if it was committed or its preflight passed, else 1."""
    parser = argparse.ArgumentParser(prog="gpuquery.runner.main", description=__doc__)
    parser.add_argument("--plan", type=Path, required=True, help="the plan, a JSON file")
    parser.add_argument("--report", type=Path, required=True, help="file for the reports; the last one counts")
    parser.add_argument("--progress-fd", type=int, help="descriptor for progress, one JSON line each")
    args = parser.parse_args(argv)
    faulthandler.enable()  # a crash in native code shows its stacks in the log
    faulthandler.register(signal.SIGUSR1)  # so does one that hangs, when its supervisor asks

    def tell(report: Report) -> None:
        with args.report.open("a") as file:
            file.write(line_of(report) + "\n")

    ends = contextlib.ExitStack()
    try:
        report = _run(args.plan, args.progress_fd, on_fault=tell, ends=ends)
    except BaseException as exc:  # every end has its report
        report = _failure(JobError(Failure.INTERNAL_ERROR, f"the attempt broke off: {named(exc)}"))
    code = 0 if report.succeeded else 1
    try:
        tell(report)
    except Exception as exc:
        code = UNTOLD
        _say(f"the report cannot be written: {named(exc)}; it was: {line_of(report)}")
    with contextlib.suppress(Exception):
        ends.close()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the query may have closed it
            stream.flush()
    # Threads of Polars and of the query itself may still be busy after a stop; nothing is left to wait for.
    os._exit(code)


def line_of(report: Report) -> str:
    """Return the report as a line, whatever is in it: at least how it ended."""
    for one in (report, Report(committed=report.committed, failure=report.failure, message=_BARE)):
        try:
            return one.to_line()
        except Exception as exc:
            _say(f"the report cannot be made: {named(exc)}")
    return f'{{"failure":"{Failure.INTERNAL_ERROR}","message":"{_BARE}"}}'


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, storable(f"{line}\n").encode())


def _run(
    path: Path,
    progress_fd: int | None,
    *,
    on_fault: Callable[[Report], None] | None = None,
    ends: contextlib.ExitStack | None = None,
) -> Report:
    """`ends` takes what is to be done once the report is written."""

    def tell(progress: Progress) -> None:
        if progress_fd is not None:
            line = progress.model_dump_json(by_alias=True).encode() + b"\n"
            with contextlib.suppress(OSError):  # nobody listens any more
                os.write(progress_fd, line)

    attempt = None
    try:
        signal.signal(signal.SIGTERM, _stop)
        plan = plans.load(path)
        if plan.processes is not Processes.ONE and plan.purpose is Purpose.QUERY:
            client = _client(plan)
            if ends is not None:
                ends.callback(client.close)
            attempt = Attempt(plan, Tracker(_teller(client)), ranks=client, on_joined=client.joined, on_fault=on_fault)
        else:
            tracker = Tracker(tell)
            alone = Alone(tracker)
            attempt = Attempt(plan, tracker, ranks=alone, on_joined=tracker.joined, on_fault=on_fault)
        report = attempt.run()
        # Now that it has ended, an order to stop must not cost its report.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except JobError as error:
        return _failure(error)
    except Stopped:
        if attempt is None:
            return _failure(JobError(Failure.WORKER_LOST, "stopped by SIGTERM before the query began"))
        return attempt.stop("stopped by SIGTERM")
    return report


class Alone(engines.Alone):
    """The only process; what keeps its query from beginning goes to who listens."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def note(self, **facts: Any) -> None:
        """Tell what it waits for, and nothing else."""
        if "waits_for" in facts:
            self._tracker.waits(str(facts["waits_for"] or ""))


def _client(plan: Plan) -> Client:
    """Return what this process has of the others; raises JobError(InternalError) if they are not those of the plan."""
    from gpuquery.runner.coordination.client import Client  # what runs alone need not load it

    client = Client.inherited()
    if client is None:
        raise JobError(
            Failure.INTERNAL_ERROR,
            f"the plan has {plan.ranks} ranks, but this process was not started as one of them by a supervisor",
        )
    if client.size != plan.ranks:
        raise JobError(
            Failure.INTERNAL_ERROR, f"the plan has {plan.ranks} ranks, but the supervisor knows of {client.size}"
        )
    return client


def _teller(client: Client) -> Callable[[Progress], None]:
    """Progress of a rank goes to its supervisor, and whenever there is some, the rank is not stuck."""

    def tell(progress: Progress) -> None:
        client.advance()
        client.progress(progress.model_dump_json(by_alias=True).encode())

    return tell


def _failure(error: JobError) -> Report:
    return Report(failure=error.failure, message=error.message, finished=datetime.now(UTC))


def _stop(_signal: int, _frame: FrameType | None) -> None:
    # Only the first one counts: a second would interrupt the withdrawal.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


if __name__ == "__main__":
    main()
