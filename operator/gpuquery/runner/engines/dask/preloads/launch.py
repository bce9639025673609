"""Starts `dask scheduler` or `dask cuda worker` in a pod of the attempt; the kernel ends it with its parent.

    python -m gpuquery.runner.engines.dask.preloads.launch PARENT ROLE ARGUMENT...

PARENT is the process id of the parent, ROLE is scheduler or nanny, ARGUMENTs are those of `dask`.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys

from gpuquery.runner.engines.dask.preloads import heartbeat

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run Dask's own program."""
    parent, role, *arguments = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it was gone before the kernel was asked
        os._exit(1)
    heartbeat.start(role)
    if role == "scheduler":  # a nanny gets to see no query
        heartbeat.load()
    sys.argv = ["dask", *arguments]
    importlib.import_module("dask.cli").run_cli()


if __name__ == "__main__":
    main()
