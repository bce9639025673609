"""What the process of a pod starts of Dask: `dask scheduler`, `dask cuda worker`, ended by the kernel with its parent.

    python -m gpuquery.runner.engines.dask.child PARENT ROLE WORD...

PARENT is the id of the process that starts it, ROLE is scheduler or nanny, WORDs are those after `dask`.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys

from gpuquery.runner.engines.dask import beats

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run Dask's own program."""
    parent, role, *words = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it was gone before the kernel was asked
        os._exit(1)
    beats.start(role)
    if role == "scheduler":  # a nanny gets to see no query
        beats.load()
    sys.argv = ["dask", *words]
    importlib.import_module("dask.cli").run_cli()


if __name__ == "__main__":
    main()
