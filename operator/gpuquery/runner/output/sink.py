"""The sink: takes a query's result into the output's table, in one atomic commit, whatever the table's format.

    sink = Sink(plan, Identity(uid, attempt))
    done = sink.preflight()            # committed by an earlier attempt? then there is nothing to run
    if done is None:
        sink.check_schema(lf.collect_schema())
        sink.write(lf)                 # bytes go to the store and stay invisible; or `add` whole files
        totals = sink.seal()           # every rank
        sink.judge([totals])           # rank 0, when all ranks have sealed: output.expect
        done = sink.commit([totals])   # rank 0

Every method raises `JobError` with the class of the failure. After an error, and on SIGTERM, call `abort`: from another
thread than the one that writes, never inside a signal handler, for it takes locks. It knows by itself when nothing may
be dropped any more because a commit may already stand.

What differs between formats is in `tables`, what one rank writes in `writer`, what all have staged in `pending`.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure, Policy
from gpuquery.api.timing import ABORT_SECONDS
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import expect, keep_failed, tables
from gpuquery.runner.output import receipt as receipts
from gpuquery.runner.output import reuse as reusing
from gpuquery.runner.output.commit import Hook, no_hook
from gpuquery.runner.output.genuine import check_uid
from gpuquery.runner.output.modes import Result
from gpuquery.runner.output.pending import Pending, Totals
from gpuquery.runner.output.record import Column, ReadInput, StagedFile
from gpuquery.runner.output.sweep import LEFT
from gpuquery.runner.output.tables.base import Asked, Identity
from gpuquery.runner.output.writer import Writer, told_to_stop
from gpuquery.runner.stores.base import STAGING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from gpuquery.api.receipt import Receipt, ReceiptClaim
    from gpuquery.api.reuse import Reuse, ReuseStatus
    from gpuquery.api.status import OutputStatus
    from gpuquery.plan.plan import Plan
    from gpuquery.runner.output.keep_failed import Kept
    from gpuquery.runner.output.upload import OnFault, Progress
    from gpuquery.runner.query.queries import Query

__all__ = ["Identity", "Sink", "Totals"]

_LOG = logging.getLogger(__name__)


class Sink:
    """The output of one rank of one attempt."""

    def __init__(
        self,
        plan: Plan,
        identity: Identity,
        *,
        on_progress: Progress | None = None,
        on_fault: OnFault | None = None,
        hook: Hook = no_hook,
    ) -> None:
        """`on_progress(files, rows, bytes)` gets running totals, from any thread; it must not block.

        `on_fault` gets the first fault of a `write` at once, from any thread: Polars takes its time to let go of a
        query that has failed. `hook` is called between the steps of the commit, from any thread.
        """
        check_uid(identity.uid)
        self._output = plan.output
        self._identity = identity
        self._stop = threading.Event()
        self._asked = Asked(plan, identity, self._stop, hook)
        self._table = tables.of(self._asked)
        self._pending = Pending(self._table, self._asked)
        self._on_progress, self._on_fault = on_progress, on_fault
        self._expectations = expect.Expectations(plan)
        self._held: tuple[str, ...] | None = None if self._expectations else ()
        """The expectations that hold, once all were judged."""
        self._opening = threading.Lock()
        self._opened: Writer | None = None
        self._handed_over = False
        self._refused: Sequence[StagedFile] = ()
        """Files of all ranks, once it is certain that this attempt commits none of them."""
        self._state = threading.Lock()
        self._committing = False

    @property
    def where(self) -> str:
        """What users call the table that is written."""
        return self._table.where

    @property
    def places(self) -> Sequence[str]:
        """URIs whose stores must answer before the preflight is worth a try."""
        return self._table.places

    def preflight(self) -> OutputStatus | None:
        """Answer within seconds whether this job can write here; its own commit, published, if it has one already.

        Raises StorageAuth, StorageUnavailable, UnsafeStore or OutputExists.
        """
        if (done := self._table.recover()) is not None:
            return done
        if self._table.exists:
            self._table.check_right()
            self._probe()
            self._table.sweep()
            keep_failed.sweep(self._table.store)
        if self._asked.plan.reuse is None:  # else what is there may be the result
            self._table.check_mode()
        return None

    def earlier(self, draft: Receipt, reuse: Reuse) -> tuple[OutputStatus | None, ReuseStatus]:
        """Return the commit of an earlier job that is the result already, if there is one; and what to tell of it.

        For the preflight of a plan with `reuse`, and before `check_mode`.
        """
        return reusing.found(self._table, draft, reuse)

    def check_mode(self) -> None:
        """Raise OutputExists where the mode forbids to commit; part of the preflight, unless the plan has `reuse`."""
        self._table.check_mode()

    @property
    def exists(self) -> bool:
        """Whether the table has a folder; `check_schema` makes one, where a catalog has to."""
        return self._table.exists

    @property
    def clock(self) -> str:
        """A function of the current time that an expectation calls; empty if none does."""
        return self._expectations.clock

    def check_schema(self, schema: pl.Schema) -> None:
        """Raise UserError if a result of this schema cannot be written, before the query runs."""
        self._table.make(schema)
        self._writer.check_schema(schema)

    def write(self, lf: pl.LazyFrame) -> None:
        """Run the query on Polars' streaming engine straight into invisible files."""
        self._writer.write(lf)

    def scratch(self) -> Path:
        """Return a new empty folder for this rank; all of them are removed at the end."""
        return self._writer.scratch()

    def add(self, file: Path) -> None:
        """Stage the rows of a whole parquet file; waits when too many bytes are under way.

        The file is removed when its bytes are in the store. A fault of an earlier file is raised here too. Raises
        InternalError if its columns are not those of `check_schema`.
        """
        self._writer.add(file)

    def wait(self) -> None:
        """Wait until there is room for another file; raises the first fault of the files before."""
        self._writer.wait()

    def seal(self) -> Totals:
        """End staging: wait until every byte is in the store, write the pending set, and say what is in it.

        From then on rank 0 may commit at any time, so a rank other than 0 drops nothing any more.
        """
        totals = self._pending.write(*self._writer.finish(), self._writer.keeper)
        with self._state:
            self._check_stop()
            self._handed_over = self._identity.rank != 0
        return totals

    def share(self, text: str) -> dict[str, str]:
        """Leave a text for the other ranks of the attempt; returns what `shared` takes."""
        return self._pending.share(text)

    def shared(self, told: Mapping[str, str]) -> str:
        """Read the text that rank 0 has left. Raises InternalError if it is not the one that rank 0 means."""
        return self._pending.shared(told)

    def judge(self, totals: Sequence[Totals] = ()) -> None:
        """Check `output.expect` over what all ranks have staged. For rank 0, after all ranks' `seal`; commits nothing.

        Raises ExpectationFailed or OutputLimit, after which `abort` drops the files of all ranks, and before it each
        rank may `keep` its rows; InternalError as `commit` does.
        """
        if self._held is not None:
            return
        if not self._pending.written:
            self.seal()
        files, keeper = self._pending.files(totals), self._writer.keeper
        wanted = False
        try:
            self._held = self._expectations.judge(self._pending.staged(totals, self._expectations, keeper))
        except JobError as exc:
            if exc.failure.policy is Policy.NEVER:
                self._refused = files  # no attempt follows that would drop them
            wanted = self._output.keep_failed is not None and isinstance(exc, expect.NotAsExpectedError)
            raise
        finally:
            if not wanted:
                keeper.remove()

    @property
    def kept_place(self) -> str:
        """URI of the folder for the rows of a result that is not as expected."""
        return keep_failed.place(self._asked, self._table.root)

    def keep(self) -> Kept:
        """With `output.keepFailed`: keep this rank's rows of a result that is not as expected. Raises nothing."""
        kept = keep_failed.keep(self._table, self._asked, self._writer.keeper.copies)
        self.forget()
        return kept

    def unkeep(self) -> None:
        """Remove what the ranks of this job have kept; what cannot be removed goes when its time is over."""
        try:
            left = [one for one in keep_failed.found(self._table.hurried) if one.uid == self._identity.uid]
            keep_failed.remove(self._table.hurried, left)
        except JobError as exc:
            _LOG.warning("cannot remove rows that were kept: %s", exc.message)

    def forget(self) -> None:
        """Remove this rank's copies of what it has staged: the result is as expected."""
        self._writer.keeper.remove()

    def leave(self, text: str) -> str:
        """Leave a text for later attempts of the job, within seconds; returns its SHA-256."""
        body = text.encode()
        self._table.hurried.put(self._left_key, body)
        return hashlib.sha256(body).hexdigest()

    def left(self, sha256: str) -> str | None:
        """Read the text that a preflight of the job has left, within seconds; None if that one is not there."""
        try:
            body = self._table.hurried.get(self._left_key)
        except JobError:
            return None
        return None if body is None or hashlib.sha256(body).hexdigest() != sha256 else body.decode()

    def commit(self, totals: Sequence[Totals] = (), inputs: Sequence[ReadInput] = ()) -> OutputStatus:
        """Commit what all ranks have written, publish it, and say what it is. For rank 0, after all ranks' `seal`.

        `totals` is what the ranks' `seal` returned, by rank; InternalError names a rank whose pending set is missing or
        another one. `inputs` is recorded with the commit. If another attempt of this job was faster, its commit counts
        and is returned. Raises OutputExists if the mode is errorIfExists and another job was faster.
        """
        self._check_stop()
        if not self._pending.written:
            self.seal()
        self.judge(totals)
        columns = tuple(Column(name=name, type=str(dtype)) for name, dtype in self._writer.schema.items())
        files, keys = self._pending.files(totals), self._output.partition_by
        result = Result(files, columns, keys, inputs, self._held or (), self._output.widens)
        with self._state:
            self._check_stop()
            self._committing = True
        try:
            done = self._table.commit(result)
        except JobError as exc:
            if self._table.refused(exc):
                self._refused = result.files
                self._committing = False
            raise
        try:
            self._table.drop(self._table.store, done.unused)
        except JobError as exc:
            # The output is published, so this is no failure; the sweep of a later job finds what is left.
            _LOG.warning("cannot drop a file that nothing needs: %s", exc.message)
        self._writer.close()
        return done.status

    def describe(self, receipt: Receipt) -> None:
        """Leave the receipt of a commit. The commit stands without it, so a store that fails is only logged."""
        receipts.leave(self._table.hurried, receipt)

    def recover_receipt(self, query: Query, committed: OutputStatus) -> ReceiptClaim | None:
        """Return what `preflight`'s commit has as its receipt; leave one if the attempt that made it did not."""
        return receipts.recovered(self._table.hurried, self._asked.plan, query, committed, self._table.read)

    def abort(self) -> None:
        """Drop what this rank has uploaded, within seconds; also from another thread while it is being written.

        Does nothing once `commit` has begun, unless it was refused, nor on another rank than 0 once it has sealed: a
        commit may stand, which needs the files. A commit that was refused drops those of all ranks. What is left then,
        the job's next attempt publishes or drops.
        """
        with self._state:
            if self._committing or self._handed_over:
                return
            self._stop.set()
        if not self._table.is_open:
            return
        hurried, staging = self._table.hurried, self._asked.staging
        try:
            if (writer := self._opened) is not None:
                writer.give_up()
                mine = not writer.begun or self._surrendered()
                writer.abandon(hurried, ABORT_SECONDS, remove=mine)
                if mine:
                    self._table.drop(hurried, self._refused)
            prefix = f"{staging}/rank-" + ("" if self._refused else f"{self._identity.rank:05d}.")
            found = [item.key for item in hurried.list(f"{staging}/") if prefix in item.key]
            hurried.delete([*found, self._left_key] if self._refused else found)
        except JobError:
            return  # the next attempt's sweep finds the rest

    @property
    def _writer(self) -> Writer:
        """The writer, made on first use: it needs the table's store, which a catalog may have to tell."""
        with self._opening:
            if self._opened is None:
                self._opened = Writer(
                    self._table, self._asked, self._expectations,
                    on_progress=self._on_progress, on_fault=self._on_fault,
                )  # fmt: skip
            return self._opened

    def _probe(self) -> None:
        """Prove that the store creates exclusively; the commit rests on it.

        Twice, if it seems not to: another attempt of this job that commits just now tidies up behind this one.
        """
        if self._creates_again() and self._creates_again():
            reason = stores.of(self._table.root).unsafe
            raise JobError(Failure.UNSAFE_STORE, f"the store of {self._table.root} {reason}")

    def _creates_again(self) -> bool:
        key = f"{self._asked.staging}/probe-{secrets.token_hex(8)}"
        hurried = self._table.hurried
        hurried.create(key, b"probe")
        again = hurried.create(key, b"probe")
        hurried.delete([key])
        return again

    def _surrendered(self) -> bool:
        try:
            return self._table.surrender()
        except JobError:
            return False

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise told_to_stop()

    @property
    def _left_key(self) -> str:
        return f"{STAGING}{self._identity.uid}/{LEFT}"
