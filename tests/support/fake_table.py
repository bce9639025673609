"""A table whose metadata names its files, in memory: what Delta and Iceberg share, with faults where one wants.

Its catalog is one object, replaced by compare and swap. Every call of store and catalog is counted, and something may
happen before or after any of them: the process dies, the answer is lost, another attempt runs to its end.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.api.status import OutputStatus
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import hive
from gpuquery.runner.output.record import owner_of, parse_part
from gpuquery.runner.output.sink import Identity, Sink
from gpuquery.runner.output.tables.base import Asked, Layout
from gpuquery.runner.output.tables.complete import Complete, Mark
from tests.support.memory_store import Content, Crash, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import polars as pl

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.output.modes import Result
    from gpuquery.runner.stores.base import Store

CATALOG = "catalog"


@dataclass(frozen=True)
class Commit:
    """One commit of the catalog."""

    uid: str
    attempt: int
    files: Sequence[str]
    rows: int


def commits(content: Content) -> list[Commit]:
    """All commits, oldest first."""
    return [Commit(**one) for one in json.loads(content.objects.get(CATALOG, b"[]"))]


class FakeTable(Complete):
    """The table of one process."""

    below = "data/"

    def __init__(self, asked: Asked, store: MemoryStore) -> None:
        super().__init__(asked)
        self._memory = store

    def open(self) -> tuple[Store, Store]:
        return self._memory, self._memory  # type: ignore[return-value]

    @property
    def root(self) -> str:
        return "s3://bucket/table"

    @property
    def where(self) -> str:
        return self.root

    def check_mode(self) -> None:
        if self._asked.plan.output.mode is OutputMode.ERROR_IF_EXISTS and self._read():
            raise JobError(Failure.OUTPUT_EXISTS, "the table has commits already")

    def fit(self, schema: pl.Schema) -> Layout:
        hive.check_schema(schema, self._asked.plan.output.partition_by)
        return Layout(keys=self._asked.plan.output.partition_by)

    def values(self, keys: pl.DataFrame) -> Mapping[str, str | None]:
        return hive.partition_values(keys)

    def path(self, values: Mapping[str, str | None], name: str) -> str:
        return hive.folder(values) + name

    def find(self) -> Mark | None:
        return self._mark(self._read())

    def publish(self, result: Result) -> Mark:
        while True:
            known = self._read()
            if (mark := self._mark(known)) is not None:
                return mark
            self.check_mode()
            files = [file.path for file in result.files]
            new = Commit(self._uid, self._attempt, files, sum(file.rows for file in result.files))
            self.certain = False
            if self._swap(known, [*known, new]):
                return Mark(self._status(new), mine=True)
            self.certain = True

    def committed_by(self, uid: str) -> int | None:
        return next((one.attempt for one in self._read() if one.uid == uid), None)

    def files_of(self, uid: str, attempt: int) -> Iterable[str]:
        keys = [item.key for item in self.store.list(self.below)]
        return [key for key in keys if parse_part(key) == (owner_of(uid), attempt)]

    def unnamed(self, keys: Sequence[str]) -> Sequence[str]:
        named = {self.below + file for one in self._read() for file in one.files}
        return [key for key in keys if key not in named]

    def _mark(self, known: Sequence[Commit]) -> Mark | None:
        return next((Mark(self._status(one)) for one in known if one.uid == self._uid), None)

    def _status(self, one: Commit) -> OutputStatus:
        return OutputStatus(uri=self.where, version=1, files=len(one.files), rows=one.rows, bytes=0, partitions=0)

    def _read(self) -> list[Commit]:
        return self._memory.do(lambda: commits(self._memory.content))

    def _swap(self, known: Sequence[Commit], new: Sequence[Commit]) -> bool:
        def effect() -> bool:
            if commits(self._memory.content) != known:
                return False
            self._memory.content.objects[CATALOG] = json.dumps([vars(one) for one in new]).encode()
            return True

        return bool(self._memory.do(effect))


class Happening:
    """Does something once, before or after the `at`-th call (from 0) of a store; counts them all."""

    def __init__(self, at: int = -1, when: str = "before", act: Callable[[], None] = lambda: None) -> None:
        self.calls = 0
        self._at, self._when, self._act = at, when, act
        self._lock = threading.Lock()
        self._mine = threading.local()
        self._dead = False

    def __call__(self, after: bool) -> None:
        if self._dead:
            raise Crash
        if not after:
            with self._lock:
                self._mine.number, self.calls = self.calls, self.calls + 1
        if self._mine.number == self._at and after == (self._when == "after"):
            self._act()

    def die(self) -> None:
        """The process is gone; no call of it has any effect any more."""
        self._dead = True
        raise Crash


def die(at: int, when: str) -> Happening:
    """A process that dies."""
    happening = Happening(at, when, lambda: happening.die())  # noqa: PLW0108  it is not there yet
    return happening


def fail(at: int, when: str) -> Happening:
    """A call that fails without an effect, or whose answer is lost after it."""

    def act() -> None:
        raise JobError(Failure.STORAGE_UNAVAILABLE, "the connection broke")

    return Happening(at, when, act)


def sink(content: Content, made: Plan, attempt: int, turn: Callable[[bool], None], patch: Any) -> Sink:
    """The sink of an attempt that writes to such a table."""
    return rank(content, made, Identity(made.job.uid, attempt), patch, turn)


def rank(
    content: Content, made: Plan, identity: Identity, patch: Any, turn: Callable[[bool], None] = lambda _: None
) -> Sink:
    """The sink of one rank of an attempt."""
    patch.setattr("gpuquery.runner.output.tables.of", lambda asked: FakeTable(asked, MemoryStore(content, turn)))
    return Sink(made, identity)


def run(one: Sink, lf: pl.LazyFrame) -> OutputStatus:
    """Run an attempt to its end, as runner/attempt.py does."""
    try:
        if (done := one.preflight()) is not None:
            return done
        one.check_schema(lf.collect_schema())
        one.write(lf)
        return one.commit()
    except JobError:
        one.abort()
        raise


def tried(one: Sink, lf: pl.LazyFrame) -> JobError | None:
    """Run an attempt; returns what it failed with. None if it did not, or if its process died."""
    try:
        run(one, lf)
    except JobError as exc:
        return exc
    except Crash:
        pass
    return None
