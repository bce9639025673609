"""PID 1 of the pod: starts the query process, answers for it over HTTP, and says how it ended.

It imports next to nothing (no Polars, no pydantic until there is something to say), so that it starts in a blink,
takes little of the query's memory, and survives what the query process does not: a crash in native code, the OOM
killer. In a set of ranks it starts one process for each GPU instead, or one for all of them where they are part of
a Dask cluster, and keeps in touch with the other pods (`gpuquery.runner.ranks`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from gpuquery.api.labels import PLAN_DIRECTORY, PLAN_KEY, PROGRESS_PORT, RENDEZVOUS_PORT, TERMINATION_LOG
from gpuquery.api.reasons import Failure
from gpuquery.runner import oom

GRACE_SECONDS = 22
"""From SIGTERM to SIGKILL of the query process; the kubelet kills the pod after 30."""
ALLOCATOR = "_RJEM_MALLOC_CONF"
"""Variable that Polars hands its memory allocator."""
SAFE_PAGES = "muzzy_decay_ms:0"
"""No memory is given back by MADV_FREE, as Polars would have it: with NUMA balancing and at a container's memory limit,
kernels of RHEL 9 can lose what is written to such memory later, so that results change silently or the process crashes
(pola-rs/polars#29061). It is the allocator's own default."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the plan in a child; exit code 0 if it was committed or its preflight passed, else 1."""
    args = _arguments(argv)
    plan = _document(args.plan)
    several = plan.get("processes") in ("ranks", "pods")
    if several and plan.get("version") == 1 and plan.get("purpose", "query") == "query":
        return _supervise(plan, args)
    kills = oom.kills()
    child = Child.start(args.plan)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, child.stop)
    signal.signal(signal.SIGALRM, child.kill)
    # The kernel may hand a signal to a thread that is just being made, and nothing would wake this one to handle it. So
    # the threads that answer, and those that they make, take none.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    guest = isinstance(plan.get("dask"), dict) and plan.get("purpose", "query") == "query"
    _answer(child, args.port, guest=guest)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    status = child.wait()
    line = child.report()
    if not line:
        line = _obituary(child, status, oom.kills() > kills)
    elif status < 0:
        _log(f"the query process died of {_name(status)} after it had told how it ends")
    try:
        args.termination_log.write_text(line)
    except OSError as exc:
        _log(f"cannot write {args.termination_log}: {exc.strerror}; the report was: {line}")
    return 1 if "failure" in json.loads(line) else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpuquery.runner.supervisor", description=__doc__)
    parser.add_argument("--plan", type=Path, default=Path(PLAN_DIRECTORY, PLAN_KEY), help="the plan, a JSON file")
    parser.add_argument("--port", type=int, default=PROGRESS_PORT, help="port of /v1/progress and the probes")
    parser.add_argument("--set-port", type=int, default=RENDEZVOUS_PORT, help="port for the other pods of a set")
    parser.add_argument("--program", default="gpuquery.runner.query", help="module that each process of a set runs")
    parser.add_argument(
        "--termination-log",
        type=Path,
        default=Path(os.environ.get("GPUQUERY_TERMINATION_LOG", TERMINATION_LOG)),
        help="file for the report",
    )
    return parser.parse_args(argv)


def _document(path: Path) -> dict[str, Any]:
    """Read the plan as far as the supervisor needs it; empty if it cannot be read, which the query process tells."""
    with contextlib.suppress(OSError, ValueError):
        plan = json.loads(path.read_text())
        return plan if isinstance(plan, dict) else {}
    return {}


def _environment() -> dict[str, str]:
    return {**os.environ, ALLOCATOR: ",".join(filter(None, [SAFE_PAGES, os.environ.get(ALLOCATOR)]))}


def _supervise(plan: dict[str, Any], args: argparse.Namespace) -> int:
    """Run a pod of a set of ranks."""
    from gpuquery.runner.ranks import settings
    from gpuquery.runner.ranks.causes import Fault
    from gpuquery.runner.ranks.closing import failed
    from gpuquery.runner.ranks.run import run

    try:
        wanted = settings.read(plan, args.plan, _environment(), program=args.program, port=args.set_port)
    except settings.SettingsError as exc:
        _log(f"failed: {exc}")
        args.termination_log.write_text(failed(Fault(Failure.INTERNAL_ERROR, str(exc))))
        return 1
    return run(wanted, board_port=args.port, termination_log=args.termination_log)


@dataclass
class Child:
    """The query process."""

    process: subprocess.Popen[bytes]
    progress_fd: int
    report_fd: int
    stopped: bool = False
    killed: bool = False

    @classmethod
    def start(cls, plan: Path) -> Child:
        """Start it; its progress comes through a pipe, its report through memory that outlives it."""
        progress, write_end = os.pipe()
        report = os.memfd_create("report")
        process = subprocess.Popen(
            [
                sys.executable, "-m", "gpuquery.runner.query", "--plan", str(plan),
                "--report", f"/proc/self/fd/{report}", "--progress-fd", str(write_end),
            ],
            env=_environment(),
            pass_fds=(report, write_end),
            process_group=0,
        )  # fmt: skip
        os.close(write_end)
        return cls(process, progress, report)

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Pass SIGTERM on, and see to it that the process ends before the pod is killed."""
        if not self.stopped and self.process.returncode is None:
            self.stopped = True
            _log(f"SIGTERM: the query has {GRACE_SECONDS} s to withdraw or to finish its commit")
            signal.alarm(GRACE_SECONDS)
            # Not by Popen, which would reap it here if it has just ended, and leave nothing to wait for.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)

    def kill(self, _signal: int, _frame: FrameType | None) -> None:
        """End it and whatever it has started."""
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Return its exit code (negative: the signal); meanwhile reap every orphan that ends up with PID 1."""
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == self.process.pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                return self.process.returncode

    def report(self) -> str:
        """Return the last report that it has left whole; empty if there is none."""
        size = os.fstat(self.report_fd).st_size
        *lines, _ = os.pread(self.report_fd, size, 0).decode(errors="replace").split("\n")
        return lines[-1] if lines else ""


def _answer(child: Child, port: int, *, guest: bool) -> None:
    from gpuquery.runner.board import Board, serve  # after the start: the query process need not wait for it

    board = Board(guest=guest)

    def listen() -> None:
        with os.fdopen(child.progress_fd, "rb") as lines:
            for line in lines:
                board.put(line)

    threading.Thread(target=listen, name="progress", daemon=True).start()
    try:
        serve(board, port)
    except OSError as exc:
        # Progress is best effort; the result is not.
        _log(f"cannot listen on port {port}: {exc.strerror}")


def _obituary(child: Child, status: int, oom_killed: bool) -> str:
    """The report for a query process that left none."""
    from gpuquery.api.report import Report

    if status >= 0:
        failure, message = Failure.INTERNAL_ERROR, f"the query process ended with exit code {status} and left no report"
    elif oom_killed:
        limit = oom.limit()
        failure = Failure.HOST_OUT_OF_MEMORY
        message = (
            f"the kernel killed the query process: it needed more memory than its limit{limit and f' of {limit}'}: "
            "raise workers.resources.limits.memory or make the query's intermediate results smaller"
        )
    elif child.stopped:
        failure = Failure.WORKER_LOST
        message = f"stopped by SIGTERM before the result was committed{' and killed' if child.killed else ''}"
    else:
        failure, message = Failure.WORKER_LOST, f"the query process died of {_name(status)}"
    _log(f"failed: {failure.value}: {message}")
    return Report(failure=failure, message=message, finished=datetime.now(UTC)).to_line()


def _name(status: int) -> str:
    return f"signal {-status} ({signal.Signals(-status).name})"


def _log(line: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} supervisor: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
