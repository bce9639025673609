"""A process of Dask that the query's process starts, with its output and its end.

It stays in the process group, so that who kills that kills it and what it has started. The kernel kills it with the
thread that has started it, which is that of the query.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from gpuquery.runner.engines.dask.preloads import launch
from gpuquery.runner.failures import oom
from gpuquery.runner.failures.dask import ended
from gpuquery.runner.failures.last_lines import Passing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gpuquery.runner.failures.errors import JobError

OUTPUT_SECONDS = 2.0
"""How long to wait for the last lines of a process that has ended: what it has started may keep its output open."""


def start(role: str, what: str, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], on_end: Callable[[JobError], None]) -> int:  # fmt: skip # noqa: E501
    """Start `dask` with arguments, in a folder; returns its process id.

    `what` names it in messages. `on_end` is called with why it has ended, in another thread.
    """
    kills = oom.kills()
    output, pipe = os.pipe()
    command = [sys.executable, "-P", "-m", launch.__name__, str(os.getpid()), role, *arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
    )
    os.close(pipe)
    lines = Passing(output, f"{role} output")

    def wait() -> None:
        status = process.wait()
        lines.join(OUTPUT_SECONDS)
        on_end(ended(what, status, lines.tail(), oom_killed=oom.kills() > kills))

    threading.Thread(target=wait, name=role, daemon=True).start()
    return process.pid
