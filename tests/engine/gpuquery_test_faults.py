"""Faults of the test engines; README.md tells how they are asked for."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import threading
from typing import TYPE_CHECKING

from gpuquery.runner.failures import oom

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PHASES = ("join", "joined", "run", "write", "task", "end")
CHUNK = 64 << 20
ON_DASK = ("kill-scheduler", "stop-scheduler", "kill-nanny")


def _oom() -> None:
    if not oom.limit():
        raise RuntimeError("TEST_ENGINE_FAULT: oom would take this machine's memory: set a memory limit")
    taken = []
    while True:
        taken.append(bytearray(os.urandom(1)) * CHUNK)


def _disk_full() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        full.write(b"x")


def _raise() -> None:
    raise RuntimeError("TEST_ENGINE_FAULT: raise")


def _spin() -> None:
    re.match(r"(a+)+$", "a" * 200 + "b")  # ends after 2^200 steps; the interpreter's lock is held meanwhile


KINDS: Mapping[str, Callable[[], object]] = {
    "exit": lambda: os._exit(7),
    "abort": ctypes.CDLL(None).abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "raise": _raise,
    "hang": threading.Event().wait,
    "spin-in-native": _spin,
    "oom": _oom,
    "disk-full": _disk_full,
}


def reached(phase: str, index: int, *, more: Mapping[str, Callable[[], object]] | None = None) -> None:
    """Do what TEST_ENGINE_FAULT asks of the process of this index in this phase."""
    for fault in filter(None, os.environ.get("TEST_ENGINE_FAULT", "").split(",")):
        rank, _, rest = fault.partition(":")
        when, _, kind = rest.partition(":")
        if kind not in (*KINDS, *ON_DASK) or when not in PHASES:
            raise ValueError(
                f'TEST_ENGINE_FAULT: "{fault}" is no fault: write rank:phase:kind with a phase of '
                f"{', '.join(PHASES)} and a kind of {', '.join((*KINDS, *ON_DASK))}"
            )
        if when == phase and rank in ("*", str(index)) and (act := {**KINDS, **(more or {})}.get(kind)):
            act()
