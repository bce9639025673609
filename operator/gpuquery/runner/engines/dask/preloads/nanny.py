"""A preload of nannies: a worker that ends is not started again, nor is one waited for that hangs.

The workers are a set that was counted before the query began, and a new one in the place of a dead one holds nothing of
what that held; so the first death ends `dask cuda worker`, whose parent says why. A nanny learns of it in
`Nanny._on_worker_exit_sync` (distributed 2025.7 to 2026.7), before it would start another.

Where nobody else listens to the worker's heartbeat, a nanny that is told a limit does so itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from gpuquery.runner.engines.dask.preloads import heartbeat
from gpuquery.runner.failures.dask import line_of

STATUS = 70
"""Exit code of `dask cuda worker` then."""
LIMIT_VARIABLE = "GPUQUERY_DASK_SILENCE"
"""Seconds without a heartbeat after which a worker is taken to hang; without it nobody listens here."""
_EXPECTED = ("closing", "closed", "closing_gracefully")


def dask_setup(nanny: Any) -> None:
    """Called by Dask before the nanny starts its worker."""
    usual = nanny._on_worker_exit_sync

    def ended(exitcode: int) -> None:
        if nanny.status.name in _EXPECTED:
            usual(exitcode)
        else:
            _end(line_of(nanny.name, exitcode))

    nanny._on_worker_exit_sync = ended
    folder, limit = os.environ.get(heartbeat.FOLDER_VARIABLE), os.environ.get(LIMIT_VARIABLE)
    if folder and limit:
        # A container that was started before had other processes by the same ids.
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(parents=True, exist_ok=True)
        arguments = heartbeat.Listener(Path(folder)), float(limit)
        threading.Thread(target=_listen, args=arguments, name="heartbeats", daemon=True).start()


def _listen(listener: heartbeat.Listener, limit: float) -> None:
    while not (silent := listener.silent(limit, time.monotonic())):
        time.sleep(heartbeat.EVERY_SECONDS)
    _end(f"gpuquery: {silent} hangs: it gave no sign of life within {limit:g} s\n")


def _end(line: str) -> None:
    """Say why, and end this process and with it its container."""
    with contextlib.suppress(OSError):
        os.write(2, line.encode())
    os._exit(STATUS)
