"""The commit protocol: one compare-and-swap decides, and the next writer finishes what a crash has left.

    upload, invisibly -> pending set -> record created (the commit) -> uploads completed -> pointer moved
    -> old files deleted -> marker

A crash between any two steps leaves a state that the next attempt, or the next job on this table, completes (if the
record exists) or cleans up (if not). Two rules make that safe. Nothing is built on a version before it is published.
And uploads are dropped only after a *fence* in the log has taken away their owner's right to commit: an attempt that
was taken for dead may wake up at any time.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import JobRef
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import genuine, pointer
from gpuquery.runner.output.log import Log, record_key
from gpuquery.runner.output.modes import MODES, Mode, Result, Rollback
from gpuquery.runner.output.record import FENCE, CommitRecord, StagedFile, owner_of
from gpuquery.runner.output.sweep import given_up, needless
from gpuquery.runner.stores.base import DATA, STAGING, Store

if TYPE_CHECKING:
    from gpuquery.api.output import OutputMode

_LOG = logging.getLogger(__name__)

PUBLISH_PATIENCE = 20.0
"""Seconds to wait for a peer that is completing the same upload right now."""

LISTING_PATIENCE = 60.0
"""Seconds within which a listing must show what another process has created, even over NFS."""


class Step(StrEnum):
    """Moments between two effects: what a committer has done so far."""

    BEFORE_RECORD = "before-record"
    AFTER_RECORD = "after-record"
    MID_PUBLISH = "mid-publish"
    BEFORE_POINTER = "before-pointer"
    BEFORE_REMOVE = "before-remove"
    BEFORE_MARKER = "before-marker"


Hook = Callable[[Step], None]


@dataclass(frozen=True)
class Outcome:
    """The job's commit record, and the uploads of this attempt that it does not need."""

    record: CommitRecord
    unused: Sequence[StagedFile]
    """Uploads that the record does not need."""


def no_hook(_: Step) -> None:
    """Do nothing between the steps."""


class Committer:
    """Commits one attempt of one job to one table. Not for use from several threads."""

    def __init__(self, store: Store, job: JobRef, attempt: int, mode: OutputMode | Mode, hook: Hook = no_hook) -> None:
        self.log = Log(store)
        self._store = store
        self._job = job
        self._attempt = attempt
        self._mode = MODES[mode] if isinstance(mode, str) else mode
        self._hook = hook
        self._refusals: dict[int, float] = {}
        self.certain = True
        """Whether it is certain that this committer has written no commit record."""

    def recover(self) -> CommitRecord | None:
        """Return this job's commit, published, if it has one already."""
        self.log.refresh()
        entry = self.log.find(self._job.uid)
        if entry is None:
            return None
        record = self.log.read([entry.version])[0]
        genuine.check_mine(record_key(record.version), record, self._job, self._attempt)
        if not entry.done:
            self.settle()
        self._clean(record)
        return record

    def check_mode(self) -> None:
        """Raise OutputExists where the mode forbids to commit to a table that exists."""
        self._mode.check(self.log)

    def check_fence(self) -> None:
        """Raise if a later attempt has taken this one's right to commit."""
        if (fenced := self.log.fenced(owner_of(self._job.uid))) >= self._attempt:
            raise JobError(
                Failure.WORKER_LOST,
                f"attempt {self._attempt} was given up for dead: attempts up to {fenced} may not commit any more",
            )

    def commit(self, result: Result) -> Outcome:
        """Commit and publish, exactly once for the job, also if other attempts try at the same time."""
        while True:
            if (record := self.recover()) is not None:
                return Outcome(record, _unused(result, record))
            self.check_fence()
            known = len(self.log.entries())
            self.settle()
            if len(self.log.entries()) > known:
                continue  # it was read anew meanwhile, and what is new in it may be a commit of this job
            self.check_mode()
            record = self._record(result)
            self._hook(Step.BEFORE_RECORD)
            self.certain = False
            if self.log.append(record):
                break
            self._taken(record.version)
            time.sleep(random.random() * 0.05)  # noqa: S311
        self._hook(Step.AFTER_RECORD)
        self.publish(record)
        self._clean(record)
        return Outcome(record, _unused(result, record))

    def fence(self, owner: JobRef, attempt: int) -> bool:
        """Take the right to commit from a job's attempts up to `attempt`; False if that job has committed already.

        `owner.uid` may be the eight digits that stand in file names: another job's upload
        shows no more.
        """
        digits = owner_of(owner.uid)
        while True:
            self.log.refresh()
            if any(owner_of(entry.uid) == digits for entry in self.log.tables()):
                return False
            if self.log.fenced(digits) >= attempt:
                return True
            record = CommitRecord(
                version=self.log.next_version(), job=owner, attempt=attempt, mode=FENCE, created=datetime.now(UTC)
            )
            if self.log.append(record):
                self.log.mark_done(record)
                return True
            self._taken(record.version)

    def publish(self, record: CommitRecord) -> None:
        """Make a record's files visible and delete what it replaces. Anyone may do this, any number of times."""

        def complete(file: StagedFile) -> None:
            self._complete(record, file)
            self._hook(Step.MID_PUBLISH)

        self._store.parallel(complete, record.add)
        self._hook(Step.BEFORE_POINTER)
        pointer.advance(self._store, self.log, record.version)
        self._hook(Step.BEFORE_REMOVE)
        self._store.delete([DATA + path for path in record.remove])
        self._hook(Step.BEFORE_MARKER)
        self.log.mark_done(record)

    def settle(self) -> None:
        """Publish every version that is not published yet, oldest first."""
        for entry in self.log.entries():
            if not entry.done:
                self.publish(self.log.read([entry.version])[0])

    def _taken(self, version: int) -> None:
        """Another committer was faster. Once a listing shows its record, the next number is tried."""
        since = self._refusals.setdefault(version, time.monotonic())
        if time.monotonic() - since > LISTING_PATIENCE:
            raise genuine.bad(record_key(version), "it is there, but no listing shows it: it is no plain file")

    def _complete(self, record: CommitRecord, file: StagedFile) -> None:
        key = DATA + file.path
        deadline = time.monotonic() + PUBLISH_PATIENCE
        while not self._store.complete(key, file.upload_id, file.pieces):
            # No such upload: a peer has completed it, or is doing so now (not every store is atomic here).
            if self._store.size(key) == file.bytes or self.log.is_done(record):
                return
            if time.monotonic() > deadline:
                raise JobError(
                    Failure.STORAGE_UNAVAILABLE,
                    f"version {record.version} is committed, but the upload of {key} has vanished: {self._store.lost} "
                    "What was there before is whole, but nobody can write to the table until `gpuquery fsck URI --void "
                    f"{record.version}` has taken that version back",
                )
            time.sleep(0.1)

    def _record(self, result: Result) -> CommitRecord:
        """Build the next version from what is live now."""
        change, mode = self._mode.change(self.log, result), self._mode
        return CommitRecord(
            format=mode.format,
            version=self.log.next_version(),
            job=self._job,
            attempt=self._attempt,
            mode=mode.word,
            add=tuple(change.add),
            remove=tuple(change.remove),
            columns=tuple(result.columns if change.columns is None else change.columns),
            partition_by=tuple(result.partition_by),
            placeholder=change.placeholder,
            rows=sum(file.rows for file in change.add),
            bytes=sum(file.bytes for file in change.add),
            inputs=tuple(result.inputs),
            expectations=tuple(result.expectations),
            restores=mode.to if isinstance(mode, Rollback) else None,
            created=datetime.now(UTC),
        )

    def _clean(self, record: CommitRecord) -> None:
        """Delete what a published job has staged, and what dead jobs have and nobody needs: it is not read any more."""
        mine = f"{STAGING}{record.job.uid}/"
        try:
            staged = list(self._store.list(STAGING))
            self._store.delete([*(item.key for item in staged if item.key.startswith(mine)), *needless(staged)])
            for (owner, attempt), keys in given_up(item for item in staged if not item.key.startswith(mine)).items():
                self.fence(JobRef(namespace="", name="", uid=owner), attempt)
                self._store.delete(keys)
        except JobError as exc:
            # The output is published, so this is no failure: a job that cannot tidy up has still done its work.
            _LOG.warning("cannot delete the pending sets of version %d: %s", record.version, exc.message)


def _unused(result: Result, record: CommitRecord) -> Sequence[StagedFile]:
    used = {file.upload_id for file in record.add}
    return [file for file in result.files if file.upload_id not in used]
