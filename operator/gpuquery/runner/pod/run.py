"""How the supervisor of a pod runs: signals, then the loop."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from gpuquery.runner.coordination.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gpuquery.runner.pod.pod import Pod

_PR_SET_CHILD_SUBREAPER = 36


def run(make: Callable[[Loop], Pod], *, port: int, termination_log: Path) -> int:
    """Run the pod to its end; returns the exit code: 0 if the attempt was committed, else 1."""
    if os.getpid() != 1:
        _adopt()
    loop = Loop()
    pod = make(loop)
    # Whichever thread the kernel hands a signal to, the loop wakes up: the handlers run in its thread.
    signal.set_wakeup_fd(loop.wakeup_fd, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.call(pod.stop))
    pod.start(port)
    code = pod.run(termination_log)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # it obeys already, and its exit code is known
    return code


def _adopt() -> None:
    """Have orphans end up here, as they do with PID 1."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
