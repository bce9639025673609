"""The commit to a catalog: one request decides, and before each the table is asked whether it has been made already.

A catalog takes a commit only if the branch still ends with the snapshot that it follows. So of all requests that
attempts of a job have ever sent for one state of the table, at most one is carried out, and who loses loads the table
anew and finds the job's mark. An answer that is lost is handled like a refusal, except that its manifests stay: the
request may have been carried out, or may be yet. So they do after a conflict, until the branch has moved on: a request
may be delivered twice, and one of the two be refused because the other is at work.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import redact
from gpuquery.runner.failures.words import said
from gpuquery.runner.output.commit import Hook, Step, no_hook
from gpuquery.runner.output.tables.iceberg import marks
from gpuquery.runner.output.tables.iceberg.draft import Change, Draft, draft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.plan.plan import JobRef
    from gpuquery.runner.inputs.tables.iceberg.catalogs import Catalog
    from gpuquery.runner.output.tables.iceberg.marks import Base, Landed

_LOG = logging.getLogger(__name__)

PATIENCE = 300.0
"""Seconds for which a catalog is asked again that fails, or that is faster changed by others."""
LONGEST_PAUSE = 10.0


@dataclass(frozen=True)
class Asked:
    """What is to become of a table, as it is now."""

    metadata: Any
    """The table's metadata, with `updates` in it."""
    change: Change
    updates: tuple[Any, ...] = ()
    """What else the commit changes: the schema."""
    requirements: tuple[Any, ...] = ()


class Committer:
    """Commits one attempt of one job to one table. Not for use from several threads."""

    def __init__(
        self, catalog: Catalog, job: JobRef, attempt: int, hook: Hook = no_hook, stop: threading.Event | None = None
    ) -> None:
        """The catalog's client has a StoreIO. `stop` ends all waiting; then nothing is asked for any more."""
        self._catalog, self._job, self._attempt, self._hook = catalog, job, attempt, hook
        self._stop = stop or threading.Event()
        self.certain = True
        """Whether it is certain that this committer has committed nothing, nor will."""

    def find(self, metadata: Any, bases: Sequence[Base] = ()) -> Landed | None:
        """Return the job's commit. Raises UnsafeStore where that cannot be said; see `marks`."""
        if (landed := marks.find(metadata, self._job)) is not None:
            return landed
        for one in bases:
            if why := marks.doubt(metadata, one):
                raise self._catalog.asked.error(
                    Failure.UNSAFE_STORE,
                    f"an earlier attempt of this job may have committed, and that cannot be seen any more: {why}. Look "
                    "whether the table has the rows; if not, run the job again under another name",
                )
        return None

    def commit(
        self, plan: Callable[[Any], Asked], bases: Sequence[Base] = (), asking: Callable[[Base], None] = lambda _: None
    ) -> Landed:
        """Commit what `plan` makes of the table's newest state, exactly once for the job. Raises JobError.

        `bases` are how far the table had come when earlier attempts of the job last asked; `asking` is called with how
        far it has come, right before each request.
        """
        deadline = time.monotonic() + PATIENCE
        turn, refused, doubtful = 0, None, [*bases]
        while True:
            table = self._load()
            if (landed := self.find(table.metadata, doubtful)) is not None:
                return landed
            if refused is not None and refused.is_outdated(table.metadata):
                self._remove(table, refused)
            asked = plan(table)
            made = draft(asked.metadata, asked.change, table.io)
            self._hook(Step.BEFORE_RECORD)
            self._check_stop()
            asking(base := marks.base(table.metadata))
            fault, refused = self._send(table, asked, made)
            if fault is None:
                self._hook(Step.AFTER_RECORD)
                return marks.Landed(made.snapshot_id, self._attempt, made.summary)
            if refused is None:
                doubtful.append(base)
            turn += 1
            if time.monotonic() > deadline:
                raise self._gave_up(turn, fault)
            self._pause(turn)

    def _send(self, table: Any, asked: Asked, made: Draft) -> tuple[Exception | None, Draft | None]:
        """Ask for a commit once; returns what was wrong, and the draft if it is certain that it was refused."""
        from pyiceberg import exceptions as known

        updates = (*asked.updates, *made.updates)
        requirements = (*asked.requirements, *made.requirements)
        before, self.certain = self.certain, False
        try:
            self._catalog.ask(lambda client: client.commit_table(table, requirements, updates), unlike=(Exception,))
        except known.CommitFailedException as exc:
            self.certain = before
            return exc, made
        except Exception as exc:
            if type(exc) not in (known.RESTError, known.BadRequestError, known.ForbiddenError, known.UnauthorizedError):
                _LOG.warning("it is not known whether the commit was carried out: %s", redact(said(exc)))
                return exc, None
            now = self._load().metadata
            if self.find(now) is not None:
                return exc, None  # the first of two deliveries was carried out
            self.certain = before
            if now.last_sequence_number >= made.sequence:
                return exc, made  # its number was given to a snapshot of another branch, which some call a bad request
            self._remove(table, made)
            raise self._explained(exc) from None
        return None, None

    def _explained(self, exc: Exception) -> JobError:
        def fail(_: Any) -> None:
            raise exc

        try:
            self._catalog.ask(fail)
        except JobError as told:
            return told
        raise AssertionError

    def _load(self) -> Any:
        self._check_stop()
        return self._catalog.load()

    def _remove(self, table: Any, made: Draft) -> None:
        for place in made.files:
            try:
                table.io.delete(place)
            except JobError as exc:
                _LOG.warning("cannot remove %s, which nothing needs: %s", place, exc.message)

    def _gave_up(self, turns: int, fault: Exception) -> JobError:
        return self._catalog.asked.error(
            Failure.STORAGE_UNAVAILABLE,
            f"the catalog has not taken the commit in {turns} tries within {PATIENCE:.0f} seconds: "
            f"{redact(said(fault))}",
        )

    def _pause(self, turn: int) -> None:
        self._stop.wait(random.uniform(0, min(LONGEST_PAUSE, 0.05 * 2**turn)))  # noqa: S311

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise JobError(Failure.WORKER_LOST, "the attempt was told to stop before it committed")
