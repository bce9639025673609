"""Beats: whether processes of Dask are alive, though nobody can ask them.

A worker's event loop stands still for as long as cudf-polars runs a query in it, so Dask's own heartbeats tell nothing.
A thread does instead: it sets the times of a file, which takes no room on a full disk. A process that is stopped, or in
which native code holds the interpreter, sets none. Times are those of the machine's monotonic clock, which all of its
processes share.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import time
from pathlib import Path

FOLDER_VARIABLE = "GPUQUERY_DASK_BEATS"
"""Where processes find the folder of these files."""
EVERY_SECONDS = 1.0


def start(role: str) -> None:
    """Beat from now on, if somebody listens; `role` names this process: worker, scheduler."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        file = Path(folder, f"{role}.{os.getpid()}")
        with contextlib.suppress(OSError):
            file.touch()
            _beat(file)
            threading.Thread(target=_work, args=(file,), name="beats", daemon=True).start()


def load() -> None:
    """Import what queries bring along, before anything else is at work in this process.

    It holds the interpreter for seconds. And later it is not safe everywhere: processes of 26.04 with connections over
    UCX were seen to crash in the garbage collector (SIGSEGV) while they imported Polars for the first task.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("polars")


def _work(file: Path) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        while True:
            _beat(file)
            time.sleep(EVERY_SECONDS)


def _beat(file: Path) -> None:
    now = time.monotonic()
    os.utime(file, (now, now))


class Listener:
    """Hears the processes that beat into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._looked: float | None = None
        self._forgiven = 0.0

    def silent(self, limit: float, now: float) -> str:
        """Name a process that lives and has not beaten for `limit` seconds; empty if there is none."""
        late = 0.0 if self._looked is None else now - self._looked - EVERY_SECONDS
        self._looked = now
        if late > EVERY_SECONDS:  # nobody was at work here: they may well have beaten meanwhile, or not could either
            self._forgiven = now
        for role, pid, heard in self._heard():
            if now - max(heard, self._forgiven) > limit:
                return f"the Dask {role} with process id {pid}"
        return ""

    def pids(self, role: str) -> list[int]:
        """Return the ids of the processes of a role that live."""
        return sorted(pid for found, pid, _ in self._heard() if found == role)

    def _heard(self) -> list[tuple[str, int, float]]:
        found = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                role, _, pid = entry.name.rpartition(".")
                with contextlib.suppress(OSError):
                    if pid.isdigit() and _lives(int(pid)):
                        found.append((role, int(pid), entry.stat().st_mtime))
        return found


def _lives(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
