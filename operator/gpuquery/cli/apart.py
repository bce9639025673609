"""Jobs run in a process of their own, so that a crash of native code ends one job and no other.

One process runs all jobs of a file, one after the other. It is forked before Polars is imported: that costs a few
milliseconds, and nothing is loaded twice. If it dies in a job, the command says so, looks for a file of the inputs that
is to blame, and goes on with the next job in another process.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from gpuquery.api.reasons import Failure
from gpuquery.api.report import Progress, Report
from gpuquery.cli.show import Bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from gpuquery.plan.plan import Plan

INTERRUPTED = 130
AUTOPSY_SECONDS = 150.0
ONCE_SECONDS = 1.0
"""Within this time two interrupts are one: a terminal sends it to both processes, and the command passes its own on."""
LOOK_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1


def reports(plans: Sequence[Plan]) -> Iterator[tuple[Plan, Report]]:
    """Run plans to their ends and yield each with its report; shows progress.

    Raises ImportError if a library is missing, and KeyboardInterrupt once what was staged is withdrawn.
    """
    if _threads() > 1:  # of a program that calls the command: a fork would take only the one that calls
        yield from _here(plans)
        return
    done = 0
    while done < len(plans):
        runner = _Runner(plans, done)
        for report in runner.follow():
            yield plans[done], report
            done += 1
        if done < len(plans):
            yield plans[done], runner.obituary(plans[done])
            done += 1


def _here(plans: Sequence[Plan]) -> Iterator[tuple[Plan, Report]]:
    from gpuquery.runner import local

    for plan in plans:
        bar = Bar(plan.job.name)
        report = local.run(plan, on_progress=bar.update)
        bar.end()
        yield plan, report


class _Runner:
    """A process that runs plans from one of them on."""

    def __init__(self, plans: Sequence[Plan], first: int) -> None:
        self._plans = plans
        self._first = first
        self._phase = ""
        self._status: int | None = None
        self._rest = b""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # else both processes hold what is not yet written
        self._pipe, theirs = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            _run(plans[first:], theirs)
        os.close(theirs)

    def follow(self) -> Iterator[Report]:
        """Yield the reports as they come, until the process ends."""
        interrupted = False
        index, bar = self._first, None
        while index < len(self._plans):
            try:
                message = self._next()
            except KeyboardInterrupt:
                interrupted = True
                if self._status is None:
                    os.kill(self._pid, signal.SIGINT)
                continue
            if message is None:
                break
            if "lacking" in message:
                raise ImportError(message["lacking"])
            if message["job"] != index - self._first:  # a last word on the job before
                continue
            bar = bar or Bar(self._plans[index].job.name)
            if "progress" in message:
                self._phase = str(message["progress"]["phase"])
                bar.update(Progress.model_validate(message["progress"]))
                continue
            bar.end()
            index, bar, self._phase = index + 1, None, ""
            yield Report.model_validate(message["report"])
        if bar is not None:
            bar.end()
        os.close(self._pipe)
        self._wait(0)
        if index < len(self._plans) and (interrupted or self._status == INTERRUPTED):
            raise KeyboardInterrupt

    def obituary(self, plan: Plan) -> Report:
        """Say why the process has left no report."""
        from gpuquery.plan.plan import Language
        from gpuquery.runner.failures import obituary, readers

        found = _autopsy(plan) if self._status in readers.NATIVE else None
        failure, message = found or obituary.ended(
            "the query process", self._status or 0, (), oom_killed=False, phase=self._phase,
            python=plan.language is Language.PYTHON,
        )  # fmt: skip
        return Report(failure=failure, message=message, finished=datetime.now(UTC))

    def _next(self) -> dict[str, Any] | None:
        """Return the next that the process says; None at its end."""
        while b"\n" not in self._rest:
            if not select.select([self._pipe], [], [], LOOK_SECONDS)[0]:
                # What the query has started may keep the pipe open.
                if self._status is not None:
                    return None
                self._wait(os.WNOHANG)
                continue
            data = os.read(self._pipe, 65536)
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _wait(self, options: int) -> None:
        if self._status is None:
            pid, status = os.waitpid(self._pid, options)
            self._status = os.waitstatus_to_exitcode(status) if pid else None


def _run(plans: Sequence[Plan], out: int) -> NoReturn:
    """Be the process that runs plans."""
    code = 1
    try:
        _die_with_parent()
        signal.signal(signal.SIGINT, _Once())

        gate = threading.Lock()

        def say(job: int, name: str, value: str) -> None:
            data = f'{{"job":{job},"{name}":{value}}}\n'.encode()
            with gate, contextlib.suppress(BrokenPipeError):
                while data:
                    data = data[os.write(out, data) :]

        try:
            from gpuquery.runner import local
        except ImportError as error:
            say(0, "lacking", json.dumps(str(error)))
            raise SystemExit from None
        for job, plan in enumerate(plans):
            tell = functools.partial(say, job, "progress")
            report = local.run(plan, on_progress=lambda seen, tell=tell: tell(seen.model_dump_json()))  # type: ignore[misc]
            say(job, "report", report.model_dump_json())
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit:
        pass
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)  # threads of Polars may still be busy


class _Once:
    """Raises KeyboardInterrupt, once for two signals that come together."""

    def __init__(self) -> None:
        self._last = -ONCE_SECONDS

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        last, self._last = self._last, time.monotonic()
        if self._last - last >= ONCE_SECONDS:
            raise KeyboardInterrupt


def _autopsy(plan: Plan) -> tuple[Failure, str] | None:
    """Return class and message if a file of the inputs made native code end the process."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(plan.model_dump_json(by_alias=True))
        file.flush()
        command = [sys.executable, "-m", "gpuquery.runner.inputs.autopsy", "--plan", file.name]
        with contextlib.suppress(OSError, ValueError, KeyError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, timeout=AUTOPSY_SECONDS, check=True)
            found = json.loads(done.stdout)
            return Failure(found["failure"]), str(found["message"])
    return None


def installed(name: str) -> bool:
    """Whether a library can be imported, without importing it: it would start threads."""
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # somebody has hidden it
        return False


def _threads() -> int:
    """Threads of this process, those of libraries included."""
    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/task"))
    return threading.active_count()


def _die_with_parent() -> None:
    with contextlib.suppress(Exception):  # not on Linux
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
