"""A preload of Dask's nannies: a worker that ends is not started again, nor is one waited for that hangs.

The workers are a set that was counted before the query began, and a new one in the place of a dead one holds nothing of
what that held; so the first death ends `dask cuda worker`, whose parent says why. A nanny tells of it through
`Nanny._on_worker_exit_sync` (distributed 2025.7 to 2026.7), before it would start another.

Where nobody else listens to the worker's signs of life (`beats`), a nanny that is told a limit does so itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from gpuquery.runner.engines.dask import beats
from gpuquery.runner.failures.dask import line_of

STATUS = 70
"""Exit code of `dask cuda worker` then."""
LIMIT_VARIABLE = "GPUQUERY_DASK_SILENCE"
"""Seconds after which a worker that gives no sign of life is taken to hang; without it nobody listens here."""
_EXPECTED = ("closing", "closed", "closing_gracefully")


def dask_setup(nanny: Any) -> None:
    """Called by Dask before the nanny starts its worker."""
    usual = nanny._on_worker_exit_sync

    def ended(exitcode: int) -> None:
        if nanny.status.name in _EXPECTED:
            usual(exitcode)
            return
        with contextlib.suppress(OSError):
            os.write(2, line_of(nanny.name, exitcode).encode())
        os._exit(STATUS)

    nanny._on_worker_exit_sync = ended
    folder, limit = os.environ.get(beats.FOLDER_VARIABLE), os.environ.get(LIMIT_VARIABLE)
    if folder and limit:
        # A container that was started before had other processes by the same ids.
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(parents=True, exist_ok=True)
        arguments = beats.Listener(Path(folder)), float(limit)
        threading.Thread(target=_listen, args=arguments, name="beats", daemon=True).start()


def _listen(listener: beats.Listener, limit: float) -> None:
    """End this process, and with it its container, when its worker is frozen."""
    while not (silent := listener.silent(limit, time.monotonic())):
        time.sleep(beats.EVERY_SECONDS)
    with contextlib.suppress(OSError):
        os.write(2, f"gpuquery: {silent} hangs: it gave no sign of life within {limit:g} s\n".encode())
    os._exit(STATUS)
