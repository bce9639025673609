"""Ranks for tests: threads of this process that share gates, and an engine that gives each of them its share."""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.api.report import Progress, Report
from gpuquery.runner.attempt import Attempt
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.parts import Parts
from gpuquery.runner.progress import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.engines import Ranks, Writes


LONGEST = 120.0
"""Seconds within which all ranks have ended: a gate is waited at for 60."""


class Broken(BaseException):
    """The supervisor has ended this process, because another one failed."""


class Set:
    """Processes that come to gates. When one has failed, none passes any more."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.condition = threading.Condition()
        self.values: dict[str, dict[int, Any]] = {}
        self.failed = False

    def member(self, index: int) -> Member:
        """The process of that number."""
        return Member(self, index)

    def fail(self) -> None:
        """One of them has failed: as the supervisor does, end the others wherever they wait."""
        with self.condition:
            self.failed = True
            self.condition.notify_all()


class Member:
    """One of them; implements `engines.Ranks`."""

    def __init__(self, whole: Set, index: int) -> None:
        self.index, self.size = index, whole.size
        self.notes: dict[str, Any] = {}
        self._set = whole

    def gate(self, name: str, value: Any = None, *, seconds: float) -> Sequence[Any]:
        deadline = time.monotonic() + min(seconds, 60)
        whole = self._set
        with whole.condition:
            values = whole.values.setdefault(name, {})
            assert self.index not in values, f"gate {name} serves once"
            values[self.index] = json.loads(json.dumps(value))
            whole.condition.notify_all()
            while len(values) < self.size:
                if whole.failed:
                    raise Broken
                if time.monotonic() > deadline:
                    raise JobError(Failure.RANK_STALLED, f"gate {name}: only {sorted(values)} have come")
                whole.condition.wait(1)
            return [values[index] for index in range(self.size)]

    def note(self, **facts: Any) -> None:
        self.notes.update(facts)

    def advance(self) -> None:
        """Nobody asks."""


class Shares:
    """An engine: each rank computes the query and hands over those rows whose number is its own, in part files."""

    name = "shares"

    def __init__(
        self, *, parts: int = 2, empty: Sequence[int] = (), before: Callable[[int], None] = lambda index: None
    ) -> None:
        self.parts, self.empty, self.before = parts, empty, before
        self.ran: list[int] = []
        self._own = threading.local()

    def join(self, plan: Plan, ranks: Ranks) -> None:
        self._own.ranks = ranks
        if ranks.size > 1:
            ranks.gate("address", f"address of {ranks.index}", seconds=30)
        ranks.note(rank=ranks.size - 1 - ranks.index, statistics={f"counter-{n}": n for n in range(2000)})

    def run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        ranks = self._own.ranks
        self.ran.append(ranks.index)
        folder = sink.scratch()
        rows = frame.collect().sort(pl.all()).with_row_index("__n")
        others = [index for index in range(ranks.size) if index not in self.empty] or [ranks.size]
        share = rows.filter(
            pl.col("__n") % len(others) == others.index(ranks.index) if ranks.index in others else False
        )
        watcher = Parts(folder, sink)
        watcher.start()
        self.before(ranks.index)
        for part in range(self.parts):
            piece = share.filter(pl.col("__n") // len(others) % self.parts == part).drop("__n")
            piece.write_parquet(folder / f"part.{ranks.index}.{part:06d}.parquet")
        watcher.finish()


def run(
    plan: Plan, size: int, *, plans: Sequence[Plan] = (), heard: Callable[[int, Report], None] = lambda *_: None
) -> list[Report | None]:
    """Run a plan on so many ranks; returns their reports, None for those that were ended because another failed.

    `plans` gives each rank a plan of its own. `heard` gets what a rank tells before its end.
    """
    whole = Set(size)

    def one(index: int) -> Report | None:
        def tell(report: Report) -> None:
            heard(index, report)
            if report.failure is not None and not isinstance(broken.get(index), Broken):
                whole.fail()

        member, seen = whole.member(index), list[Progress]()
        gate = member.gate

        def watched(name: str, value: Any = None, *, seconds: float) -> Sequence[Any]:
            try:
                return gate(name, value, seconds=seconds)
            except Broken as exc:
                broken[index] = exc
                raise

        member.gate = watched  # type: ignore[method-assign]
        attempt = Attempt(
            plans[index] if plans else plan, Tracker(seen.append, quiet=True), ranks=member, on_fault=tell
        )
        report = attempt.run()
        return None if index in broken else report

    broken: dict[int, BaseException] = {}
    return _all(one, size)


def _all(one: Callable[[int], Report | None], size: int) -> list[Report | None]:
    """Call with each index, at the same time. A pool would wait for one that hangs, and so would its test, for ever."""
    futures = [Future[Report | None]() for _ in range(size)]

    def call(index: int) -> None:
        try:
            futures[index].set_result(one(index))
        except BaseException as exc:
            futures[index].set_exception(exc)

    threads = [threading.Thread(target=call, args=(index,), daemon=True) for index in range(size)]
    for thread in threads:
        thread.start()
    if wait(futures, LONGEST).not_done:
        faulthandler.dump_traceback(sys.__stderr__ or 2)
        threading.Thread(target=_end, args=(threads,), daemon=True).start()
        hanging = [index for index, future in enumerate(futures) if not future.done()]
        raise AssertionError(f"ranks {hanging} of {size} hang: where each thread stood is on standard error")
    return [future.result() for future in futures]


def _end(threads: list[threading.Thread]) -> None:
    """End the process when all tests are done: Python would wait for the threads that a rank has started."""
    threading.main_thread().join()
    if any(thread.is_alive() for thread in threads):
        sys.stdout.flush()
        os._exit(1)


def leftovers(folder: Path) -> list[str]:
    """What a dead attempt left below the output's staging folder."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and "_staging" in str(path)]
