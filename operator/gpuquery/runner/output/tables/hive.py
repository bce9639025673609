"""Hive folders with a commit log of our own: deferred uploads, and one exclusively created record that decides."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.api.status import OutputStatus
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import dtypes
from gpuquery.runner.output import expect, hive
from gpuquery.runner.output.commit import Committer
from gpuquery.runner.output.genuine import read_pending
from gpuquery.runner.output.log import record_key
from gpuquery.runner.output.modes import MODES, Result, check_fits
from gpuquery.runner.output.record import Column, CommitRecord, PendingSet
from gpuquery.runner.output.sweep import sweep, sweep_finished
from gpuquery.runner.output.tables.base import Asked, Committed, Layout, Live, Table
from gpuquery.runner.stores.base import DATA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from gpuquery.runner.output.record import StagedFile
    from gpuquery.runner.stores.base import Store

_LOG = logging.getLogger(__name__)

_SURRENDERS = (Failure.OUTPUT_EXISTS, Failure.USER_ERROR, Failure.WORKER_LOST)
"""These say for certain that no record of ours exists; after any other fault one may, once it was tried."""


class Hive(Table):
    """A folder with files below data/ and the log below _commits/."""

    below = DATA
    deferred = True
    writes_empty = True

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self._output = asked.plan.output
        self._uri = asked.plan.output.uri or ""
        self._uid, self._attempt = asked.identity.uid, asked.identity.attempt
        self._committer = Committer(self.store, asked.job, self._attempt, self._output.mode, asked.hook)
        self._hasty = Committer(self.hurried, asked.job, self._attempt, self._output.mode)

    def open(self) -> tuple[Store, Store]:
        """Open the folder; asks nothing of the store."""
        uri, asked = self._uri, self._asked
        return stores.of(uri).table(stores.locate(uri), asked.plan.store, staging=asked.staging, stop=asked.stop)

    @property
    def where(self) -> str:
        """The folder's URI."""
        return self._uri

    @property
    def root(self) -> str:
        """The folder's URI."""
        return self._uri

    @property
    def places(self) -> Sequence[str]:
        """The folder's URI."""
        return (self._uri,)

    def recover(self) -> OutputStatus | None:
        """Return this job's commit, published, if it has one already."""
        self._hasty.log.refresh()
        if self._hasty.log.find(self._uid) is None:
            return None
        record = self._committer.recover()
        assert record is not None
        self.read = record.inputs
        sweep_finished(self.store, self._uid)
        return self._status(record)

    def check_right(self) -> None:
        """Raise WorkerLost if a later attempt has fenced this one, UnsafeStore if something is in the way."""
        self._hasty.check_fence()
        # Find what would keep the result from being committed or published before paying for it.
        for key in (record_key(self._hasty.log.next_version()), f"{DATA}any", f"{self._asked.staging}/any"):
            self.hurried.check_free(key)

    def sweep(self) -> None:
        """Drop abandoned uploads; committing needs no right to list them."""
        try:
            sweep(self.store, self._committer, self._asked.job, self._attempt)
        except JobError as exc:
            if exc.failure is not Failure.STORAGE_AUTH:
                raise
            # Without the right, only other jobs' abandoned uploads stay.
            _LOG.warning("cannot look for abandoned uploads: %s", exc.message)

    def check_mode(self) -> None:
        """Raise OutputExists where the mode forbids to commit to a table that exists."""
        self._hasty.check_mode()

    def live(self) -> Live | None:
        """Return the newest version, published, if all of its files are there."""
        self._hasty.log.refresh()
        record = self._hasty.log.latest()
        if record is None or (record.placeholder is None and not record.add):
            return None
        self._hasty.settle()
        there = {item.key: item.bytes for item in self.hurried.list(DATA)}
        if any(there.get(DATA + file.path) != file.bytes for file in record.add):
            return None
        return Live(record.job, record.created, self._status(record))

    def fit(self, schema: pl.Schema) -> Layout:
        """Check the folders' columns, and where rows stay, the table's; its order of columns is kept then."""
        keys = self._output.partition_by
        hive.check_schema(schema, keys)
        if MODES[self._output.mode].extends:
            self._committer.log.refresh()
            if (latest := self._committer.log.latest()) is not None:
                columns = tuple(Column(name=name, type=str(dtype)) for name, dtype in schema.items())
                made = check_fits(latest, Result((), columns, keys, widen=self._output.widens))
                # Some readers go by the position of columns when they read several files.
                if (order := [column.name for column in made]) != list(schema):
                    return Layout(select=[dtypes.column(name) for name in order], keys=keys)
        return Layout(keys=keys)

    def values(self, keys: pl.DataFrame) -> Mapping[str, str | None]:
        """Give the values of one partition as text."""
        return hive.partition_values(keys)

    def path(self, values: Mapping[str, str | None], name: str) -> str:
        """Put a file into the folder of its partition."""
        return hive.folder(values) + name

    def read_pending(self, key: str, body: bytes) -> PendingSet:
        """Read a pending set, whose uploads must be this attempt's."""
        return read_pending(key, body, self._uid, self._attempt, self.store.can_be)

    def commit(self, result: Result) -> Committed:
        """Create the record, complete the uploads, delete what it replaces."""
        outcome = self._committer.commit(result)
        return Committed(self._status(outcome.record), outcome.unused)

    def refused(self, exc: JobError) -> bool:
        """Whether no record of this attempt exists."""
        return exc.failure in _SURRENDERS or self._committer.certain

    def surrender(self) -> bool:
        """Dropping its uploads is what takes an attempt's right: a record without them is never written."""
        return True

    def drop(self, store: Store, files: Sequence[StagedFile]) -> None:
        """Abort uploads."""
        store.parallel(lambda file: store.abort(DATA + file.path, file.upload_id), files)

    def _status(self, record: CommitRecord) -> OutputStatus:
        folders = {file.path.rpartition("/")[0] for file in record.add} - {""}
        return OutputStatus(
            uri=self._output.published,
            version=record.version,
            files=len(record.add),
            rows=record.rows,
            bytes=record.bytes,
            partitions=len(folders),
            expectations=expect.shown(record.expectations),
        )
