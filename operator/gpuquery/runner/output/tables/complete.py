"""What tables have in common whose own metadata names their files: the data files are complete objects.

The commit of the catalog, or of the table's own log, is the only one that decides. It carries the job's UID as a mark,
and it is made on the handle that was asked for the mark. What our own protocol adds is the permit (permit.py), which
keeps the files of an attempt that may commit, and keeps attempts from committing whose files were removed.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.commit import Step
from gpuquery.runner.output.genuine import read_pending
from gpuquery.runner.output.tables import abandoned
from gpuquery.runner.output.tables.base import Asked, Committed, Table
from gpuquery.runner.output.tables.permit import NAME, Permit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.api.status import OutputStatus
    from gpuquery.runner.output.modes import Result
    from gpuquery.runner.output.record import PendingSet, StagedFile
    from gpuquery.runner.stores.base import Store

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mark:
    """This job's commit, as the table's metadata shows it."""

    status: OutputStatus
    mine: bool = False
    """Whether it is certain that this process has made it, of all files with rows that it was given."""


class Complete(Table, abandoned.Known):
    """A table whose data files are complete objects, found by no reader until its metadata names them.

    A format implements `open`, `root`, `where`, `check_mode`, `fit`, `values`, `path` of `Table`, the
    three questions of `abandoned.Known`, and `find` and `publish`.
    """

    deferred = False
    writes_empty = False

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self._uid, self._attempt = asked.identity.uid, asked.identity.attempt
        self._permit = Permit(self._uid, self._attempt)
        self.certain = True
        """Whether it is certain that this process has committed nothing, and that no request of it still may."""

    @abstractmethod
    def find(self) -> Mark | None:
        """Ask the table anew for this job's commit."""

    @abstractmethod
    def publish(self, result: Result) -> Mark:
        """Commit files, all with rows, under the job's mark, on a handle that was asked for the mark; a mark that is
        there already is returned.

        Sets `certain` to False right before the first request that may commit, and to True again where an answer says
        for certain that nothing was committed. After every answer that is lost, and before every retry, the mark is
        asked for again. Raises OutputExists, UserError, StorageUnavailable, ...
        """

    def recover(self) -> OutputStatus | None:
        """Return this job's commit, if it has one already, and tidy up."""
        if (mark := self.find()) is None:
            return None
        self._tidy(None)
        return mark.status

    def check_right(self) -> None:
        """Raise WorkerLost if the permit is taken, UnsafeStore if something is in the way of what will be written."""
        self._permit.check(self.hurried)
        for key in (f"{self.below}any", f"{self._asked.staging}/{NAME}"):
            self.hurried.check_free(key)

    def sweep(self) -> None:
        """Remove what dead attempts have left; committing needs no right to list."""
        try:
            abandoned.sweep(self.store, self, self._uid, self._attempt)
        except JobError as exc:
            if exc.failure is not Failure.STORAGE_AUTH:
                raise
            _LOG.warning("cannot look for abandoned files: %s", exc.message)

    def read_pending(self, key: str, body: bytes) -> PendingSet:
        """Read a pending set, whose files must be this attempt's."""
        return read_pending(key, body, self._uid, self._attempt, None)

    def commit(self, result: Result) -> Committed:
        """Take the permit, commit the files with rows under the job's mark, tidy up."""
        wanted = replace(result, files=[file for file in result.files if file.rows])
        if (mark := self.find()) is None:
            self._permit.take(self.store)
            self._asked.hook(Step.BEFORE_RECORD)
            mark = self.publish(wanted)
            self._asked.hook(Step.AFTER_RECORD)
        self._tidy(self._attempt if mark.mine else None)
        return Committed(mark.status, [file for file in result.files if mark.mine and not file.rows])

    def refused(self, exc: JobError) -> bool:
        """Whether nothing was committed, nor can be by a request that is still under way."""
        return self.certain

    def surrender(self) -> bool:
        """Void the permit of this attempt."""
        return self._permit.void(self.hurried)

    def drop(self, store: Store, files: Sequence[StagedFile]) -> None:
        """Delete objects."""
        store.delete([self.below + file.path for file in files])

    def _tidy(self, but: int | None) -> None:
        try:
            abandoned.tidy(self.store, self, self._uid, but)
        except JobError as exc:
            # The output is committed, so this is no failure: a job that cannot tidy up has still done its work.
            _LOG.warning("cannot remove what the job has staged: %s", exc.message)
