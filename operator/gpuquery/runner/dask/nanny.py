"""A preload of Dask's nannies: a worker that ends is not started again.

The workers are a set that was counted before the query began, and a new one in the place of a dead one holds nothing of
what that held; so the first death ends `dask cuda worker`, whose parent says why. A nanny tells of it through
`Nanny._on_worker_exit_sync` (distributed 2025.7 to 2026.7), before it would start another.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

ENDED = "gpuquery: a Dask worker ended: "
"""How the line begins that tells of a worker's death."""
STATUS = 70
"""Exit code of `dask cuda worker` then."""
_EXPECTED = ("closing", "closed", "closing_gracefully")


def dask_setup(nanny: Any) -> None:
    """Called by Dask before the nanny starts its worker."""
    usual = nanny._on_worker_exit_sync

    def ended(exitcode: int) -> None:
        if nanny.status.name in _EXPECTED:
            usual(exitcode)
            return
        with contextlib.suppress(OSError):
            os.write(2, f"{ENDED}{nanny.name}: {told(exitcode)}\n".encode())
        os._exit(STATUS)

    nanny._on_worker_exit_sync = ended


def told(exitcode: int) -> str:
    """Return an exit code in words, as `died_of` reads them."""
    if exitcode >= 0:
        return f"exit code {exitcode}"
    try:
        return f"signal {-exitcode} ({signal.Signals(-exitcode).name})"
    except ValueError:  # a real-time signal
        return f"signal {-exitcode}"
