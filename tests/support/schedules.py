"""Schedules of faults: racing attempts of several jobs on one table, whose requests to the store go wrong.

A schedule is made from a seed, so that the seed tells all of it but the order in which threads happen to run. Attempts
run the real sink with real clients; each has an endpoint of its own, by which a fault finds its requests. When all have
ended, each job gets an attempt that nobody disturbs, and the table a last job that takes everything abandoned for a day
old. Then `verdict` compares what is there with what there may be. `formats.py` says what differs between formats.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

import polars as pl

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import JobRef, Plan, StoreAccess
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.sink import Identity, Sink
from tests.support.sinks import plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_REQUESTS = 40
"""An attempt on a small table has some twenty."""


class Fault(StrEnum):
    """What happens to one request."""

    BUSY = "503"
    BROKEN = "500"
    FORBIDDEN = "403"
    RESET = "the connection is closed before the server hears of it"
    HANG = "nobody answers"
    LOST = "the server does it, and its answer gets lost"
    TWICE = "the server gets it twice, and its second answer arrives"
    REPEATED = "the server gets it twice, and its first answer arrives"
    SLOW = "it takes a while"
    LAG = "a listing shows what was there some changes ago"
    ASLEEP = "the attempt sleeps until all others have ended"
    CRASH_BEFORE = "the process is killed before it"
    CRASH_AFTER = "the process is killed after it"


PASSING = (
    Fault.BUSY, Fault.BROKEN, Fault.RESET, Fault.HANG, Fault.LOST, Fault.TWICE, Fault.REPEATED, Fault.SLOW, Fault.LAG,
)  # fmt: skip
"""Faults that every attempt must survive."""


class Crash(BaseException):
    """The process of an attempt is gone."""


@dataclass(frozen=True)
class Try:
    """One attempt of one job."""

    job: int
    attempt: int
    mode: OutputMode
    rows: tuple[int, ...]
    """Rows in each partition, from partition `job` on."""
    ranks: int = 1
    faults: Mapping[int, Fault] = field(default_factory=dict)
    """By number of the request."""

    @property
    def uid(self) -> str:
        """UID of the job."""
        return uid(self.job)

    @property
    def name(self) -> str:
        """Name of the job."""
        return f"job-{self.job}"


def uid(job: int) -> str:
    """UID of a job, with first digits of its own."""
    return str(UUID(int=((job + 1) << 96) + 0x4000_8000_0000_0000_0000 + job))


def content(job: int, rows: Sequence[int]) -> list[tuple[int, int]]:
    """Rows of a job's result: partition, and a value that no other row of any job has."""
    return [(job + k, job * 10_000 + k * 100 + n) for k, count in enumerate(rows) for n in range(count)]


@dataclass(frozen=True)
class Schedule:
    """Attempts that run at the same time."""

    seed: int
    tries: Sequence[Try]
    hurry: float
    """Seconds that a request waits at most before it goes on, at random."""

    @property
    def jobs(self) -> Mapping[int, Try]:
        """The newest attempt of each job."""
        return {one.job: one for one in sorted(self.tries, key=lambda one: one.attempt)}

    def has(self, *faults: Fault) -> bool:
        """Whether one of these faults is in it."""
        return any(fault in one.faults.values() for one in self.tries for fault in faults)

    def __str__(self) -> str:
        lines = [f"schedule {self.seed}"]
        for n, one in enumerate(self.tries):
            faults = ", ".join(f"{number}: {fault.name}" for number, fault in sorted(one.faults.items()))
            lines.append(
                f"  {n}: {one.name} attempt {one.attempt} {one.mode} rows {one.rows} x{one.ranks} {{{faults}}}"
            )
        return "\n".join(lines)


def make(seed: int, modes: Sequence[OutputMode]) -> Schedule:
    """Draw a schedule."""
    draw = random.Random(seed)
    jobs = range(draw.choice((1, 1, 2, 2, 3)))
    kinds = {job: draw.choice(modes) for job in jobs}
    rows = {job: draw.choice(((2, 1), (1, 1, 2), (3,), (0,))) for job in jobs}
    ranks = {job: draw.choice((1, 1, 1, 2)) for job in jobs}
    tries = []
    for job in [*jobs, *draw.choices(jobs, k=draw.randint(0, 4 - len(jobs)))]:
        number = draw.choice((1, 1, 2, 3))
        tries.append(Try(job, number, kinds[job], rows[job], ranks[job], _faults(draw)))
    return Schedule(seed, tries, draw.choice((0.0, 0.001, 0.004)))


def _faults(draw: random.Random) -> dict[int, Fault]:
    found: dict[int, Fault] = {}
    for _ in range(draw.choice((0, 1, 1, 2, 3))):
        number, kind = draw.randrange(MOST_REQUESTS), draw.choice(list(Fault))
        for n in range(number, number + (draw.randint(1, 3) if kind in PASSING else 1)):
            found[n] = kind
    return found


class Stage:
    """Where the attempts of one schedule meet: who is awake, what goes wrong with whose next request."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._draw = random.Random(schedule.seed)
        self._awake = len(schedule.tries)
        self._change = threading.Condition()
        self._asked: Counter[int] = Counter()
        self.dead: set[int] = set()
        self.errors: dict[int, BaseException] = {}

    def next(self, actor: int) -> Fault | None:
        """The fault of an attempt's next request, if it has one. Raises Crash in a process that is gone."""
        if actor >= len(self.schedule.tries):
            return None  # one that nobody disturbs
        with self._change:
            number = self._asked[actor]
            self._asked[actor] += 1
            wait = self._draw.random() * self.schedule.hurry
        if actor in self.dead:
            raise Crash
        fault = self.schedule.tries[actor].faults.get(number)
        if fault is Fault.ASLEEP:
            self._sleep()
            fault = None
        time.sleep(wait)
        return fault

    def kill(self, actor: int) -> None:
        """End the process of an attempt."""
        self.dead.add(actor)
        raise Crash

    def earlier(self) -> int:
        """How many changes a listing lags behind."""
        with self._change:
            return self._draw.randint(1, 12)

    def run(self, attempt: Any) -> None:
        """Run all attempts at once, each by `attempt(number, what)`, in a thread of its own."""

        def one(number: int) -> None:
            try:
                attempt(number, self.schedule.tries[number])
            except BaseException as exc:
                if number not in self.dead:
                    self.errors[number] = exc
            finally:
                with self._change:
                    self._awake -= 1
                    self._change.notify_all()

        threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(len(self.schedule.tries))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), f"an attempt hangs: {self.schedule}"

    def _sleep(self) -> None:
        with self._change:
            self._awake -= 1
            self._change.notify_all()
            self._change.wait_for(lambda: self._awake <= 0, timeout=60)
            self._awake += 1


def sinks(what: Try, store: StoreAccess, output: Mapping[str, Any]) -> list[Sink]:
    """The sinks of an attempt's ranks."""
    made = plan(None, store=store, uid=what.uid, mode=what.mode, **output)
    made = Plan.model_validate({**made.model_dump(), "job": JobRef(namespace="ns", name=what.name, uid=what.uid)})
    return [Sink(made, Identity(what.uid, what.attempt, rank, what.ranks)) for rank in range(what.ranks)]


def run(what: Try, ranks: Sequence[Sink]) -> None:
    """Do what an attempt does. Raises what its first error was, after it has dropped what it could."""
    first, *others = ranks
    if first.preflight() is not None:
        return
    rows = content(what.job, what.rows)
    frame = pl.DataFrame(rows, schema={"k": pl.Int64, "v": pl.Int64}, orient="row")
    share = -(-frame.height // what.ranks) if frame.height else 0
    try:
        totals = []
        for rank, one in enumerate(ranks):
            one.check_schema(frame.schema)
            mine = frame.slice(rank * share, share)
            if mine.height or what.ranks == 1:
                one.write(mine.lazy())
        for one in (*others, first):
            totals.append(one.seal())
        first.commit([totals[-1], *totals[:-1]])
    except Crash:
        for one in ranks:  # its threads are this process's
            one._writer.give_up()
            one._writer.close()
        raise
    except BaseException:
        for one in ranks:
            one.abort()
        raise


def expected(commits: Sequence[int], schedule: Schedule) -> Counter[tuple[int, int]]:
    """Rows of the table after the commits of these jobs, in this order, by the modes alone."""
    rows: Counter[tuple[int, int]] = Counter()
    for job in commits:
        one = schedule.jobs[job]
        mine = content(job, one.rows)
        if one.mode is OutputMode.OVERWRITE:
            rows.clear()
        if one.mode is OutputMode.OVERWRITE_PARTITIONS:
            replaced = {k for k, _ in mine}
            rows = Counter({row: count for row, count in rows.items() if row[0] not in replaced})
        rows.update(mine)
    return rows


def may_fail(what: Try, schedule: Schedule, exc: BaseException) -> bool:
    """Whether an attempt may have ended with this error."""
    if not isinstance(exc, JobError):
        return False
    others = [one for one in schedule.tries if one.job == what.job and one is not what]
    allowed: set[Failure] = set()
    if what.mode is OutputMode.ERROR_IF_EXISTS:
        allowed.add(Failure.OUTPUT_EXISTS)
    if Fault.FORBIDDEN in what.faults.values():
        allowed.add(Failure.STORAGE_AUTH)
    if others:  # one of them may have given it up for dead, dropped its uploads or committed as a later attempt
        allowed |= {
            Failure.WORKER_LOST, Failure.UNSAFE_STORE, Failure.INTERNAL_ERROR, Failure.STORAGE_UNAVAILABLE,
        }  # fmt: skip
    return exc.failure in allowed
