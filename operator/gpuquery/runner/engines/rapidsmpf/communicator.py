"""The communicator of the ranks: UCXX between processes, made in bounded time though the library knows no time limits.

Index 0 makes the root, whose address goes to the others through a gate; they connect to it, and a barrier ends when all
have. None of rapidsmpf's calls here has a time limit: one that waits for a rank that died waits forever, and Python's
signal handlers do not run meanwhile. They do let other threads run, so each runs in a thread of its own that is left
behind when its time is over; the process ends then, and the supervisor needs no answer from it.

A root that cannot be reached ends the process from a thread of UCX (SIGABRT, `ucxx::UnreachableError`), and so does an
address that is none (an assertion of UCX): `native.last_words` knows these lines.
"""

from __future__ import annotations

import base64
import importlib
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.later import Later

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.engines import Ranks

GATE = "address"
ARRIVAL_SECONDS = 86_400.0
"""Time for all processes to come to the gate. The operator's startDeadlineSeconds and the supervisors end it sooner:
until it opens, a pod may still wait for a node or an image."""
JOIN_SECONDS = 120.0
"""Time for processes that all run to connect; a hundred do it in seconds."""
T = TypeVar("T")


def form(ranks: Ranks, options: Any, *, seconds: float = JOIN_SECONDS) -> Any:
    """Return this process's rapidsmpf communicator, once every rank is connected.

    Notes when this process was `started`, and after how many seconds its packages were `loaded` and it was `connected`.
    `options` is a `rapidsmpf.config.Options`. Raises JobError(RankStalled) if the others are not there in time.
    """
    if ranks.size == 1:
        single = importlib.import_module("rapidsmpf.communicator.single")
        return single.new_communicator(options=options, progress_thread=_progress(options))
    # First: it loads libraries that rapidsmpf's module up to 26.04 does not find by itself.
    addresses = importlib.import_module("ucxx._lib.libucxx").UCXAddress
    ucxx = importlib.import_module("rapidsmpf.communicator.ucxx")

    age = _age()
    ranks.note(started=(datetime.now(UTC) - timedelta(seconds=age)).isoformat(), loaded=round(age, 2))

    def new(root: Any) -> Any:
        return ucxx.new_communicator(
            nranks=ranks.size,
            ucx_worker=None,
            root_ucxx_address=root,
            options=options,
            progress_thread=_progress(options),
        )

    if ranks.index == 0:
        comm = within(seconds, lambda: new(None), "making the root communicator")
        address = base64.b64encode(bytes(ucxx.get_root_ucxx_address(comm))).decode()
        ranks.gate(GATE, address, seconds=ARRIVAL_SECONDS)
    else:
        root = base64.b64decode(ranks.gate(GATE, None, seconds=ARRIVAL_SECONDS)[0])
        comm = within(seconds, lambda: new(addresses.create_from_buffer(root)), "connecting to index 0")
    within(seconds, lambda: ucxx.barrier(comm), f"waiting for all {ranks.size} ranks to connect")
    ranks.note(connected=round(_age(), 2))
    return comm


def within(seconds: float, call: Callable[[], T], what: str) -> T:
    """Return what a call returns, or raise what it raises; JobError(RankStalled) if it takes longer.

    The call goes on then, in a thread that does not keep the process alive.
    """
    work = Later(call)
    work.wait(seconds)
    if not work.over:
        raise JobError(
            Failure.RANK_STALLED,
            f"{what} took longer than {seconds:.0f} s: a rank died meanwhile or cannot be reached: look at the "
            "network between the nodes, at the job's NetworkPolicy and at spec.network",
        )
    return work.result()


def _age() -> float:
    """Seconds since the kernel started this process."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _progress(options: Any) -> Any:
    """The library's thread that moves data along."""
    statistics = importlib.import_module("rapidsmpf.statistics").Statistics
    thread = importlib.import_module("rapidsmpf.progress_thread").ProgressThread
    return thread(statistics.from_options(options))
