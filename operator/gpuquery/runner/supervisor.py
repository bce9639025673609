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
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuquery.api.labels import PLAN_DIRECTORY, PLAN_KEY, PROGRESS_PORT, RENDEZVOUS_PORT, TERMINATION_LOG
from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner import obituary, oom, signs, stall
from gpuquery.runner.last_lines import Passing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from gpuquery.runner.board import Board

GRACE_SECONDS = 22
"""From SIGTERM to SIGKILL of the query process; the kubelet kills the pod after 30."""
ALLOCATOR = "_RJEM_MALLOC_CONF"
"""Variable that Polars hands its memory allocator."""
SAFE_PAGES = "muzzy_decay_ms:0"
"""No memory is given back by MADV_FREE, as Polars would have it: with NUMA balancing and at a container's memory limit,
kernels of RHEL 9 can lose what is written to such memory later, so that results change silently or the process crashes
(pola-rs/polars#29061). It is the allocator's own default."""
OUTPUT_SECONDS = 2.0
"""How long the last words of the query process are waited for: what it has started may keep its output open."""
UNTOLD = 3
"""Exit code of a pod whose report could not be written."""
STACKS_SIGNAL = signal.SIGUSR1
"""At which the query process writes the stacks of its threads into its log."""
STACKS_SECONDS = 0.5
_OWN_LINE = re.compile(r'File "(query\.py)", line (\d+) in (\S+)')
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the plan in a child; exit code 0 if it was committed or its preflight passed, else 1."""
    args = _arguments(argv)
    try:
        return _main(args)
    except Exception as exc:  # a supervisor that breaks off tells so, like whatever it supervises
        _log(f"failed: {type(exc).__name__}: {exc}")
        return _end(args, _failed(Failure.INTERNAL_ERROR, f"the supervisor broke off: {type(exc).__name__}: {exc}"))


def _main(args: argparse.Namespace) -> int:
    plan = _document(args.plan)
    several = plan.get("processes") in ("ranks", "pods")
    if several and plan.get("version") == 1 and plan.get("purpose", "query") == "query":
        return _supervise(plan, args)
    kills = oom.kills()
    child = Child.start(args.plan, python=plan.get("language") == "python")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, child.stop)
    signal.signal(signal.SIGALRM, child.late)
    # The kernel may hand a signal to a thread that is just being made, and nothing would wake this one to handle it. So
    # the threads that answer, and those that they make, take none.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    guest = isinstance(plan.get("dask"), dict) and plan.get("purpose", "query") == "query"
    _answer(child, args.port, guest=guest)
    if limit := float(plan.get("stallSeconds") or 0):
        stall.watch(child.process.pid, limit, lambda: child.hangs(limit))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    status = child.wait()
    child.sweep()
    line = child.report()
    if child.hung and (not line or json.loads(line).get("failure") == Failure.WORKER_LOST):
        line = _told(Failure.RANK_STALLED, child.hung + _where(child.tail()))
    elif not line:
        line = _obituary(child, status, oom.kills() > kills)
    elif status < 0:
        _log(f"the query process died of {obituary.signal_name(status)} after it had told how it ends")
    return _end(args, line)


def _end(args: argparse.Namespace, line: str) -> int:
    """Leave the report and return the exit code."""
    try:
        args.termination_log.write_text(line)
    except OSError as exc:
        _log(f"cannot write {args.termination_log}: {exc.strerror}; the report was: {line}")
        return UNTOLD
    return 1 if "failure" in json.loads(line) else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpuquery.runner.supervisor", description=__doc__)
    parser.add_argument("--plan", type=Path, default=Path(PLAN_DIRECTORY, PLAN_KEY), help="the plan, a JSON file")
    parser.add_argument("--port", type=int, default=PROGRESS_PORT, help="port of /v1/progress and the probes")
    parser.add_argument("--set-port", type=int, default=RENDEZVOUS_PORT, help="port for the other pods of a set")
    parser.add_argument(
        "--program", default="gpuquery.runner.query.process", help="module that each process of a set runs"
    )
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
    from gpuquery.runner.ranks.run import run

    try:
        wanted = settings.read(plan, args.plan, _environment(), program=args.program, port=args.set_port)
    except settings.SettingsError as exc:
        _log(f"failed: {exc}")
        return _end(args, _failed(Failure.INTERNAL_ERROR, str(exc)))
    return run(wanted, board_port=args.port, termination_log=args.termination_log)


@dataclass
class Child:
    """The query process."""

    process: subprocess.Popen[bytes]
    progress_fd: int
    report_fd: int
    output_fd: int = -1
    """What it prints to standard error."""
    python: bool = False
    """Whether the query is the author's own code."""
    phase: str = ""
    """What it does, as it told last; empty until it has come as far as the query."""
    stopped: bool = False
    killed: bool = False
    hung: str = ""
    """Why it was ended, if it hung."""
    _output: Passing | None = None
    _progress: threading.Thread | None = None

    @classmethod
    def start(cls, plan: Path, *, python: bool = False) -> Child:
        """Start it; its progress comes through a pipe, its report through memory that outlives it."""
        progress, write_end = os.pipe()
        report = os.memfd_create("report")
        output, error = os.pipe()
        process = subprocess.Popen(
            [
                sys.executable, "-m", "gpuquery.runner.query.process", "--plan", str(plan),
                # By way of this process: the query may close what it has not opened.
                "--report", f"/proc/{os.getpid()}/fd/{report}", "--progress-fd", str(write_end),
            ],
            env=_environment(),
            stderr=error,
            pass_fds=(write_end,),
            process_group=0,
        )  # fmt: skip
        os.close(write_end)
        os.close(error)
        return cls(process, progress, report, output, python)

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Pass SIGTERM on, and see to it that the process ends before the pod is killed."""
        if not self.stopped and self.process.returncode is None:
            self.stopped = True
            _log(
                f"{'it hangs' if self.hung else 'SIGTERM'}: the query has {GRACE_SECONDS} s to withdraw or to finish "
                "its commit"
            )
            signal.alarm(GRACE_SECONDS)
            # Not by Popen, which would reap it here if it has just ended, and leave nothing to wait for.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)

    def hangs(self, seconds: float) -> None:
        """It has done nothing for so long: have it show where it is, and end it."""
        if self.stopped or self.process.returncode is not None:
            return
        self.hung = (
            f"the query process has done nothing for {seconds:g} s: it used at most {stall.BUSY * 100:g} % of a "
            f"processor, moved no bytes from or to disks, and at most {signs.ENOUGH >> 10} KiB/s over the network "
            "(workers.stallSeconds)"
        )
        _log(self.hung)
        if self.phase:  # from here on it writes its stacks at this signal
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, STACKS_SIGNAL)
            time.sleep(STACKS_SECONDS)
        self.stop(signal.SIGTERM, None)

    def late(self, _signal: int, _frame: FrameType | None) -> None:
        """It did not end in time when it was told to."""
        self.killed = True
        self.kill()

    def kill(self) -> None:
        """End it and whatever it has started."""
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
        with contextlib.suppress(ValueError):
            return lines[-1] if lines and isinstance(json.loads(lines[-1]), dict) else ""
        return ""

    def tail(self) -> list[str]:
        """Return what it said last."""
        return self._output.tail() if self._output else []

    def listen(self, board: Board) -> None:
        """Begin to pass on what it says."""
        self._output = Passing(self.output_fd, "log")

        def listen() -> None:
            with os.fdopen(self.progress_fd, "rb") as lines:
                for line in lines:
                    with contextlib.suppress(ValueError, LookupError, TypeError):  # the query may write there, too
                        self.phase = str(json.loads(line)["phase"])
                    board.put(line)

        self._progress = threading.Thread(target=listen, name="progress", daemon=True)
        self._progress.start()

    def sweep(self) -> None:
        """Once it has ended: end whatever it has started and left behind, and take its last words."""
        self.kill()
        if self._progress is not None:
            self._progress.join(OUTPUT_SECONDS)
        if self._output is not None:
            self._output.join(OUTPUT_SECONDS)


def _answer(child: Child, port: int, *, guest: bool) -> None:
    from gpuquery.runner.board import Board, serve  # after the start: the query process need not wait for it

    board = Board(guest=guest)
    child.listen(board)
    try:
        serve(board, port)
    except OSError as exc:
        # Progress is best effort; the result is not.
        _log(f"cannot listen on port {port}: {exc.strerror}")


def _obituary(child: Child, status: int, oom_killed: bool) -> str:
    """The report for a query process that left none."""
    if status < 0 and child.stopped and not oom_killed:
        failure = Failure.WORKER_LOST
        moment = obituary.MOMENTS.get(child.phase, obituary.UNCOMMITTED)
        message = f"stopped by SIGTERM{' and killed' if child.killed else ''} {moment}"
    else:
        failure, message = obituary.ended(
            "the query process", status, child.tail(), oom_killed=oom_killed, phase=child.phase, python=child.python
        )
    return _told(failure, message)


def _where(tail: Sequence[str]) -> str:
    """Say at which of the author's lines a process was that has written the stacks of its threads."""
    found = next((place for line in tail if (place := _OWN_LINE.search(line))), None)
    return f"; it is at {found[1]} line {found[2]}, in {found[3]}" if found else "; the pod's log has its stacks"


def _told(failure: Failure, message: str) -> str:
    _log(f"failed: {failure.value}: {message}")
    return _failed(failure, message)


def _failed(failure: Failure, message: str) -> str:
    from gpuquery.runner.ranks.causes import Fault
    from gpuquery.runner.ranks.closing import failed

    return failed(Fault(failure, message))


def _log(line: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} supervisor: {clean(line)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
