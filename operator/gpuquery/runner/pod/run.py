"""How the supervisor of a pod runs: signals, the loop, and the processes that the kernel hands to it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gpuquery.runner.coordination.loop import Loop
from gpuquery.runner.pod import report
from gpuquery.runner.pod.pod import KILL_SECONDS, Pod

if TYPE_CHECKING:
    from gpuquery.runner.coordination.settings import Settings

LOG_SECONDS = 2.0
"""How long the last lines of the log wait for its reader."""
_PR_SET_CHILD_SUBREAPER = 36


def run(settings: Settings, *, port: int, termination_log: Path) -> int:
    """Run the pod to its end; returns the exit code: 0 if the attempt was committed, else 1."""
    if os.getpid() != 1:
        _adopt()
    loop = Loop()
    pod = Pod(settings, loop)
    # Whichever thread the kernel hands a signal to, the loop wakes up: the handlers run in its thread.
    signal.set_wakeup_fd(loop.wakeup_fd, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.call(pod.stop))
    pod.start(port)
    code = _until_over(pod, loop, termination_log)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # it obeys already, and its exit code is known
    return code


def _until_over(pod: Pod, loop: Loop, termination_log: Path) -> int:
    following = time.monotonic()
    while not pod.over():
        loop.run(following - time.monotonic())
        _reap(pod)
        now = time.monotonic()
        if now >= following:
            pod.tick(now)
            following = now + pod.pause()
        following = min(following, now + pod.pause())
    _sweep(pod)
    code = report.leave(pod.line(), termination_log, pod.log)
    pod.part()
    pod.outlet.drain(LOG_SECONDS)
    return code


def _adopt() -> None:
    """Have orphans end up here, as they do with PID 1."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _reap(pod: Pod) -> None:
    """Take the exit codes of processes, and of every orphan that ends up with PID 1."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for process in pod.processes:
            if process.pid == pid:
                process.ended(os.waitstatus_to_exitcode(status))
                pod.ended(process)


def _sweep(pod: Pod) -> None:
    """End everything that processes have started and that has outlived them."""
    until = time.monotonic() + KILL_SECONDS
    while (children := _children()) and time.monotonic() < until:
        for pid in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        _reap(pod)
        time.sleep(0.01)


def _children() -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found
