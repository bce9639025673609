"""An engine named rapidsmpf that joins as the real one does and computes on the CPU; README.md tells its variables."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import threading
import time
from collections.abc import Callable, Mapping

import polars as pl

from gpuquery.plan.plan import Plan
from gpuquery.runner import oom
from gpuquery.runner.engines import Ranks, Writes
from gpuquery.runner.engines.rapidsmpf import RapidsmpfEngine, faults
from gpuquery.runner.sink.parts import Parts

PHASES = ("join", "joined", "run", "write", "end")
CHUNK = 64 << 20


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
    "raise": _raise,
    "hang": threading.Event().wait,
    "spin-in-native": _spin,
    "oom": _oom,
    "disk-full": _disk_full,
}


class TestEngine(RapidsmpfEngine):
    """One rank of the real communicator, without a GPU."""

    __test__ = False  # no class of tests

    def join(self, plan: Plan, ranks: Ranks) -> None:
        """Join as the real engine does."""
        self._index = ranks.index
        self._reached("join")
        super().join(plan, ranks)
        self._reached("joined")

    def run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        """Compute everything, and hand over the rows that fall to this rank."""
        assert self._ranks is not None
        with faults():
            self._reached("run")
            self._barrier()
            rows = frame.collect(engine="streaming")
            share = rows.filter(rows.hash_rows(seed=0) % self._ranks.size == self._ranks.index)
            folder = sink.scratch() / "result"
            parts = Parts(folder, sink)
            folder.mkdir()
            parts.start()
            count = int(os.environ.get("TEST_ENGINE_PARTS") or 3)
            length = -(-max(share.height, 1) // count)
            for number in range(count):
                time.sleep(float(os.environ.get("TEST_ENGINE_PAUSE") or 0))
                # As the real one names them, and under its final name from the first byte on.
                share.slice(number * length, length).write_parquet(folder / f"part.{self._index}.{number:06d}.parquet")
                if number == 0:
                    self._reached("write")
            self._reached("end")
            self._barrier()
            parts.finish()

    def _barrier(self) -> None:
        """The library's own: without a time limit, and deaf to signals."""
        if self._comm is not None and self._comm.nranks > 1:
            importlib.import_module("rapidsmpf.communicator.ucxx").barrier(self._comm)

    def _reached(self, phase: str) -> None:
        for fault in filter(None, os.environ.get("TEST_ENGINE_FAULT", "").split(",")):
            rank, _, rest = fault.partition(":")
            when, _, kind = rest.partition(":")
            if kind not in KINDS or when not in PHASES:
                raise ValueError(
                    f'TEST_ENGINE_FAULT: "{fault}" is no fault: write rank:phase:kind with a phase of '
                    f"{', '.join(PHASES)} and a kind of {', '.join(KINDS)}"
                )
            if when == phase and rank in ("*", str(self._index)):
                KINDS[kind]()
