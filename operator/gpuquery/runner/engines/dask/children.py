"""Children: the processes of Dask that the process of a pod starts, with their output and their end.

They stay in its process group, so that whoever kills it kills them and what they have started; and the kernel kills
them with the thread that has started them, which is that of the query.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from gpuquery.runner.failures import oom
from gpuquery.runner.failures.dask import ended
from gpuquery.runner.failures.last_lines import Passing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gpuquery.runner.failures.errors import JobError

OUTPUT_SECONDS = 2.0
"""How long the last words of a process are waited for when it has ended: what it has started may keep its output open.
"""


class Child:
    """One of them: a scheduler, or the nannies of the workers."""

    def __init__(self, role: str, what: str, words: Sequence[str], *, folder: Path, environment: Mapping[str, str], on_end: Callable[[JobError], None]) -> None:  # fmt: skip # noqa: E501
        """Start it in a folder; `what` names it for people. `on_end` hears, from another thread, why it has ended."""
        self._what = what
        self._on_end = on_end
        self._kills = oom.kills()
        output, pipe = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gpuquery.runner.engines.dask.child", str(os.getpid()), role, *words],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
        )
        os.close(pipe)
        self._output = Passing(output, f"{role} output")
        threading.Thread(target=self._wait, name=role, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def tail(self) -> Sequence[str]:
        """Return the last lines that it printed."""
        return self._output.tail()

    def _wait(self) -> None:
        status = self._process.wait()
        self._output.join(OUTPUT_SECONDS)
        self._on_end(ended(self._what, status, self.tail(), oom_killed=oom.kills() > self._kills))
