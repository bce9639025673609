"""What a format of tables is to the sink. Each format is one module (or folder) that implements `Table`.

The sink calls, in this order: `recover`, `check_right`, `sweep`, `check_mode` (the preflight, rank 0 alone); `fit`
(every rank, before the query runs); `path` and `values` (while it runs, from any thread); `read_pending` and `commit`
(rank 0). Nothing is asked of a store or a catalog before the first of these calls.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuquery.plan.plan import JobRef, Plan
from gpuquery.runner.output.commit import Hook, no_hook
from gpuquery.runner.stores.base import staging

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import polars as pl

    from gpuquery.api.status import OutputStatus
    from gpuquery.runner.failures.errors import JobError
    from gpuquery.runner.output.modes import Result
    from gpuquery.runner.output.record import PendingSet, ReadInput, StagedFile
    from gpuquery.runner.stores.base import Store


@dataclass(frozen=True)
class Identity:
    """Who writes: the job's UID, the attempt from 1, and this rank among the ranks of the attempt."""

    uid: str
    attempt: int
    rank: int = 0
    ranks: int = 1


@dataclass(frozen=True)
class Asked:
    """What one rank of one attempt is asked to write."""

    plan: Plan
    identity: Identity
    stop: threading.Event = field(default_factory=threading.Event)
    """Ends all waiting for a store or a catalog."""
    hook: Hook = no_hook
    """Called between the steps of the commit, from any thread; `Step.AFTER_RECORD` says that it stands."""

    @property
    def job(self) -> JobRef:
        """The job, with the UID by which it commits."""
        return JobRef(namespace=self.plan.job.namespace, name=self.plan.job.name, uid=self.identity.uid)

    @property
    def staging(self) -> str:
        """Key of the attempt's folder for what it has not committed."""
        return staging(self.identity.uid, self.identity.attempt)


@dataclass(frozen=True)
class Order:
    """The order of rows within files."""

    by: Sequence[pl.Expr]
    descending: Sequence[bool]
    nulls_last: Sequence[bool]


@dataclass(frozen=True)
class Layout:
    """How the rows of the result lie in the table's files."""

    select: Sequence[pl.Expr] = ()
    """What to write of the planned columns: their order, casts that lose nothing, columns that the table has besides.
    Empty: the planned columns as they are."""
    keys: Sequence[str | pl.Expr] = ()
    """What the rows are partitioned by: columns, or expressions over what `select` gives, under names of their own.
    The files do not have these columns, but have those that an expression reads."""
    order: Order | None = None
    """How each rank sorts its rows before it writes them; that takes as much memory as they do."""
    verbatim: bool = True
    """Whether a file of an engine may be taken byte by byte, if its columns are the planned ones and `select` and
    `keys` are empty."""


@dataclass(frozen=True)
class Committed:
    """What became of a commit."""

    status: OutputStatus
    unused: Sequence[StagedFile]
    """Files of this attempt that the job's commit does not need."""


@dataclass(frozen=True)
class Live:
    """The commit that made the table what it is now."""

    job: JobRef
    """The job that made it."""
    created: datetime
    """When, by the clock of its pod."""
    status: OutputStatus
    """What it is."""


class Table(ABC):
    """The table that one rank of one attempt writes to. All methods may raise `JobError`."""

    below: str
    """Beginning of the keys of data files; `StagedFile.path` is what follows. Empty, or it ends with a slash."""
    deferred: bool
    """Whether uploads are completed by the commit. Else each is completed as soon as its file is whole, and no reader
    finds it before the table's metadata names it."""
    writes_empty: bool
    """Whether a result without rows needs a file, to say which columns it has."""
    statistics = 0
    """Of how many columns of values, the first ones, `StagedFile.statistics` is wanted at most."""

    ended: Callable[[bytes], bytes] | None = None
    """Gives the end of a file, with all of its metadata, as the table wants it; see `upload.Wanted`."""

    read: Sequence[ReadInput] = ()
    """What was read for the commit that `recover` has found, where it tells."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._opening = threading.Lock()
        self._opened: tuple[Store, Store] | None = None

    @abstractmethod
    def open(self) -> tuple[Store, Store]:
        """Open the table's folder, once: for work that has to get through, and for answers within seconds."""

    @property
    @abstractmethod
    def where(self) -> str:
        """What users call the table."""

    @property
    @abstractmethod
    def root(self) -> str:
        """URI of the folder that `stores` opens, without a slash at its end. May have to ask a catalog."""

    @property
    def places(self) -> Sequence[str]:
        """URIs whose stores must answer before anything else is tried; none if a catalog has to tell first."""
        return ()

    @property
    def stores(self) -> tuple[Store, Store]:
        """The table's folder twice, opened on first use."""
        with self._opening:
            if self._opened is None:
                self._opened = self.open()
            return self._opened

    @property
    def is_open(self) -> bool:
        """Whether `stores` was asked for, so that there may be something of this attempt."""
        return self._opened is not None

    @property
    def store(self) -> Store:
        """The table's folder, for work that has to get through."""
        return self.stores[0]

    @property
    def hurried(self) -> Store:
        """The table's folder, for answers within seconds, be they "no"."""
        return self.stores[1]

    @property
    def exists(self) -> bool:
        """Whether there is a folder to look at before `make`; a catalog may have to make it first."""
        return True

    def make(self, schema: pl.Schema) -> None:  # noqa: B027 (most formats need no more than `fit`)
        """Make the table for a result of this schema, if there is none and it can have no folder before."""

    @abstractmethod
    def recover(self) -> OutputStatus | None:
        """Return this job's commit, finished and tidied up, if it has one already."""

    @abstractmethod
    def check_right(self) -> None:
        """Raise what would keep this attempt from committing: WorkerLost if it was given up, UnsafeStore, ..."""

    @abstractmethod
    def sweep(self) -> None:
        """Drop what dead attempts of this job and of others have left, and nothing that a live one needs."""

    @abstractmethod
    def check_mode(self) -> None:
        """Raise OutputExists where the mode forbids to commit to what is there."""

    def live(self) -> Live | None:
        """Return the newest commit, finished, if its files are all there; None if there is none, or none of ours."""
        return None

    @abstractmethod
    def fit(self, schema: pl.Schema) -> Layout:
        """Say how a result of this schema is written; raises UserError if it cannot be. Called again if it changes."""

    @abstractmethod
    def values(self, keys: pl.DataFrame) -> Mapping[str, str | None]:
        """Give the partition of a file as text, by name. `keys` has one row, with the columns of `Layout.keys`.

        Column by column: Polars asks for it from a thread of its own, and a `select` there would wait for another.
        """

    @abstractmethod
    def path(self, values: Mapping[str, str | None], name: str) -> str:
        """Path below `below` of a file of this name and partition."""

    @abstractmethod
    def read_pending(self, key: str, body: bytes) -> PendingSet:
        """Read the pending set of another rank of this attempt. Raises UnsafeStore if no runner writes it."""

    @abstractmethod
    def commit(self, result: Result) -> Committed:
        """Commit and publish, exactly once for the job, also if other attempts try at the same time.

        If another attempt of this job was faster, its commit counts. Calls the hook. Nobody calls it twice.
        """

    @abstractmethod
    def refused(self, exc: JobError) -> bool:
        """Whether it is certain, after this error of `commit`, that this attempt has committed nothing and will not."""

    @abstractmethod
    def surrender(self) -> bool:
        """Give up this attempt's right to commit, within seconds; whether its files may be removed now.

        Never called while a commit of this process is under way or may stand.
        """

    @abstractmethod
    def drop(self, store: Store, files: Sequence[StagedFile]) -> None:
        """Remove files that no commit needs, through one of `stores`."""
