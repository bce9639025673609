"""How the supervisor of a pod runs: signals, the loop, and the processes that the kernel hands to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuquery.api.timing import KILL_SECONDS, LOG_SECONDS
from gpuquery.runner.pod import report
from gpuquery.runner.pod.pod import Pod

if TYPE_CHECKING:
    from gpuquery.runner.coordination.settings import Settings

_PR_SET_CHILD_SUBREAPER = 36


def run(settings: Settings, *, port: int, termination_log: Path) -> int:
    """Run the pod to its end; returns the exit code: 0 if the attempt was committed, else 1."""
    if os.getpid() != 1:
        _adopt()
    # asyncio.run() would wait for a thread that still looks up a name.
    return asyncio.new_event_loop().run_until_complete(_run(settings, port, termination_log))


async def _run(settings: Settings, port: int, termination_log: Path) -> int:
    loop, pod, broken = asyncio.get_running_loop(), Pod(settings), list[BaseException]()

    def failed(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # What the network does is no defect: asyncio tells so of a port when no descriptors are left.
        if (exc := context.get("exception")) is not None and not isinstance(exc, OSError):
            broken.append(exc)
            pod.changed.set()

    loop.set_exception_handler(failed)
    loop.add_signal_handler(signal.SIGCHLD, _reap, pod)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, pod.stop)
    await pod.start(port)
    following = time.monotonic()
    while not pod.over():
        following = min(following, time.monotonic() + pod.pause())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(following - time.monotonic()):
                await pod.changed.wait()
        pod.changed.clear()
        if broken:
            raise broken[0]
        if (now := time.monotonic()) >= following:
            _reap(pod)  # a signal may be lost
            pod.tick(now)
            following = now + pod.pause()
    await pod.examine()
    _sweep(pod)
    code = report.leave(pod.line(), termination_log, pod.log)
    pod.part()
    pod.output.drain(LOG_SECONDS)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # it obeys already, and its exit code is known
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
