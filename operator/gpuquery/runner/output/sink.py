"""The sink: takes a query's result into the output's folder, in one atomic commit.

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
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import secrets
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

import polars as pl

from gpuquery.api.reasons import Failure, Policy
from gpuquery.api.status import OutputStatus
from gpuquery.api.timing import ABORT_SECONDS
from gpuquery.plan.plan import JobRef, Plan
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.output import expect, fit, hive, spool
from gpuquery.runner.output import receipt as receipts
from gpuquery.runner.output.commit import Committer, Hook, no_hook
from gpuquery.runner.output.genuine import check_uid, read_pending
from gpuquery.runner.output.kept import Keeper
from gpuquery.runner.output.log import record_key
from gpuquery.runner.output.modes import MODES, Result, check_fits
from gpuquery.runner.output.record import Column, CommitRecord, PendingSet, ReadInput, StagedFile, part_name
from gpuquery.runner.output.scratch import Scratch
from gpuquery.runner.output.spool import Spool
from gpuquery.runner.output.sweep import LEASE_SECONDS, LEFT, lease_key, sweep, sweep_finished
from gpuquery.runner.output.upload import OnFault, Opened, Progress, Uploads
from gpuquery.runner.stores.base import DATA, STAGING, staging

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from polars.io.partition import FileProviderArgs

    from gpuquery.api.receipt import Receipt

_LOG = logging.getLogger(__name__)

BYTES_PER_FILE = 1 << 30
"""Bytes in memory of a file's rows: a few hundred MB compressed, small enough to be read by many workers."""


@dataclass(frozen=True)
class Identity:
    """Who writes: the job's UID, the attempt from 1, and this rank among the ranks of the attempt."""

    uid: str
    attempt: int
    rank: int = 0
    ranks: int = 1


@dataclass(frozen=True)
class Totals:
    """What one rank has staged."""

    rows: int = 0
    files: int = 0
    bytes: int = 0


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
        self._job = JobRef(namespace=plan.job.namespace, name=plan.job.name, uid=identity.uid)
        self._stop = threading.Event()
        self._staging = staging(identity.uid, identity.attempt)
        self._store, self._hurried = stores.of(plan.output.uri).table(
            stores.locate(plan.output.uri), plan.store, staging=self._staging, stop=self._stop
        )
        self._committer = Committer(self._store, self._job, identity.attempt, plan.output.mode, hook)
        self._on_progress = on_progress
        self._expectations = expect.Expectations(plan)
        self._held: tuple[str, ...] | None = None if self._expectations else ()
        """The expectations that hold, once all were judged."""
        self._keeper = Keeper(Scratch(identity.attempt, identity.rank), self._fail)
        self._uploads = Uploads(
            self._store, stop=self._stop, on_progress=self._progress, on_fault=on_fault,
            keeper=self._keeper if self._expectations else None,
        )  # fmt: skip
        self._scratch = Scratch(identity.attempt, identity.rank)
        self._spool = Spool(self._uploads, reading=self._reading, pour=self._pour, new_file=self._new_file)
        self._schema = pl.Schema()
        self._columns: tuple[Column, ...] = ()
        self._table_order: list[str] = []
        self._staged: PendingSet | None = None
        self._kept: Sequence[Path] = ()
        self._handed_over = False
        self._refused: Sequence[StagedFile] = ()
        """Files of all ranks, once it is certain that this attempt commits none of them."""
        self._sequence = itertools.count()
        self._leased = 0.0
        self._state = threading.Lock()
        self._committing = False

    def preflight(self) -> OutputStatus | None:
        """Answer within seconds whether this job can write here; its own commit, published, if it has one already.

        Raises StorageAuth, StorageUnavailable, UnsafeStore or OutputExists.
        """
        hurried = Committer(self._hurried, self._job, self._identity.attempt, self._output.mode)
        hurried.log.refresh()
        if hurried.log.find(self._identity.uid) is not None:
            record = self._committer.recover()
            assert record is not None
            sweep_finished(self._store, self._identity.uid)
            return self._status(record)
        hurried.check_fence()
        # Find what would keep the result from being committed or published before paying for it.
        for key in (record_key(hurried.log.next_version()), f"{DATA}any", f"{self._staging}/any"):
            self._hurried.check_free(key)
        self._probe()
        self._sweep()
        hurried.check_mode()
        return None

    def check_schema(self, schema: pl.Schema) -> None:
        """Raise UserError if a result of this schema cannot be written, before the query runs."""
        hive.check_schema(schema, self._output.partition_by)
        if schema != self._schema:  # `write` comes here again
            self._expectations.bind(schema)
            self._keeper.want(self._expectations.columns, self._expectations.counted)
        self._schema = pl.Schema(schema)
        self._columns = tuple(Column(name=name, type=str(dtype)) for name, dtype in schema.items())
        if MODES[self._output.mode].extends:
            self._committer.log.refresh()
            if (latest := self._committer.log.latest()) is not None:
                check_fits(latest, Result((), self._columns, self._output.partition_by))
                # Some readers go by the position of columns when they read several files.
                self._table_order = [column.name for column in latest.columns]

    def write(self, lf: pl.LazyFrame) -> None:
        """Run the query on Polars' streaming engine straight into invisible uploads."""
        self.check_schema(self._schema_of(lf))
        self._lease()
        self._pour(lf.select(self._table_order) if self._table_order else lf)
        self._uploads.finish()

    def scratch(self) -> Path:
        """Return a new empty folder for this rank; all of them are removed at the end."""
        return self._scratch.folder()

    def add(self, file: Path) -> None:
        """Stage the rows of a whole parquet file; waits when too many bytes are under way.

        The file is removed when its bytes are in the store. A fault of an earlier file is raised here too. Raises
        InternalError if its columns are not those of `check_schema`.
        """
        self._lease()
        self._spool.add(file)

    def wait(self) -> None:
        """Wait until there is room for another file; raises the first fault of the files before."""
        self._spool.wait()

    def seal(self) -> Totals:
        """End staging: wait until every byte is in the store, write the pending set, and say what is in it.

        From then on rank 0 may commit at any time, so a rank other than 0 drops nothing any more.
        """
        self._spool.finish()
        staged = self._uploads.finish()
        if not staged and self._identity.rank == 0:
            self._write_empty()
            staged = self._uploads.finish()
        self._scratch.remove()
        self._kept, nulls = self._keeper.finish()
        self._staged = PendingSet(files=tuple(staged), nulls=nulls, kept=len(self._kept))
        if self._identity.rank != 0:
            self._keeper.hand_over(self._store, self._rank_key(self._identity.rank), self._kept)
        self._store.put(self._pending_key(self._identity.rank), self._staged.model_dump_json().encode())
        with self._state:
            self._check_stop()
            self._handed_over = self._identity.rank != 0
        return _totals(staged)

    def share(self, text: str) -> dict[str, str]:
        """Leave a text for the other ranks of the attempt; returns what `shared` takes."""
        body = text.encode()
        self._store.put(self._shared_key, body)
        return {"sha256": hashlib.sha256(body).hexdigest()}

    def shared(self, told: Mapping[str, str]) -> str:
        """Read the text that rank 0 has left. Raises InternalError if it is not the one that rank 0 means."""
        body = self._store.get(self._shared_key)
        if body is None or hashlib.sha256(body).hexdigest() != told["sha256"]:
            what = "is missing" if body is None else "is not what rank 0 wrote"
            raise JobError(Failure.INTERNAL_ERROR, f"the list of inputs, {self._shared_key}, {what}")
        return body.decode()

    def judge(self, totals: Sequence[Totals] = ()) -> None:
        """Check `output.expect` over what all ranks have staged. For rank 0, after all ranks' `seal`; commits nothing.

        Raises ExpectationFailed or OutputLimit, after which `abort` drops the files of all ranks; InternalError as
        `commit` does.
        """
        if self._held is not None:
            return
        if self._staged is None:
            self.seal()
        sets = self._pending(totals)
        files = [file for one in sets for file in one.files]
        try:
            self._held = self._expectations.judge(self._all_staged(sets))
        except JobError as exc:
            if exc.failure.policy is Policy.NEVER:
                self._refused = files  # no attempt follows that would drop them
            raise
        finally:
            self._keeper.remove()

    def leave(self, text: str) -> str:
        """Leave a text for later attempts of the job, within seconds; returns its SHA-256."""
        body = text.encode()
        self._hurried.put(self._left_key, body)
        return hashlib.sha256(body).hexdigest()

    def left(self, sha256: str) -> str | None:
        """Read the text that a preflight of the job has left, within seconds; None if that one is not there."""
        try:
            body = self._hurried.get(self._left_key)
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
        if self._staged is None:
            self.seal()
        self.judge(totals)
        files = [file for one in self._pending(totals) for file in one.files]
        result = Result(files, self._columns, self._output.partition_by, inputs, self._held or ())
        with self._state:
            self._check_stop()
            self._committing = True
        try:
            outcome = self._committer.commit(result)
        except JobError as exc:
            # These say for certain that no record of ours exists; after any other fault one may, once it was tried.
            surrenders = (Failure.OUTPUT_EXISTS, Failure.USER_ERROR, Failure.WORKER_LOST)
            if exc.failure in surrenders or self._committer.certain:
                self._refused = result.files
                self._committing = False
            raise
        self._drop(outcome.unused)
        self._uploads.close()
        return self._status(outcome.record)

    def describe(self, receipt: Receipt) -> None:
        """Leave the receipt of a commit. The commit stands without it, so a store that fails is only logged."""
        receipts.leave(self._hurried, receipt)

    def abort(self) -> None:
        """Drop what this rank has uploaded, within seconds; also from another thread while it is being written.

        Does nothing once `commit` has begun, unless it was refused, nor on another rank than 0 once it has sealed: a
        record may stand, which needs the uploads. A commit that was refused drops those of all ranks. What is left
        then, the job's next attempt publishes or drops.
        """
        with self._state:
            if self._committing or self._handed_over:
                return
            self._stop.set()
        self._spool.abandon()
        self._scratch.remove()
        self._keeper.remove()
        try:
            self._uploads.abandon(self._hurried, ABORT_SECONDS)
            self._hurried.parallel(lambda file: self._hurried.abort(DATA + file.path, file.upload_id), self._refused)
            prefix = f"{self._staging}/rank-" + ("" if self._refused else f"{self._identity.rank:05d}.")
            found = [item.key for item in self._hurried.list(f"{self._staging}/") if prefix in item.key]
            self._hurried.delete([*found, self._left_key] if self._refused else found)
        except JobError:
            return  # the next attempt's sweep finds the rest

    def _drop(self, unused: Sequence[StagedFile]) -> None:
        try:
            self._store.parallel(lambda file: self._store.abort(DATA + file.path, file.upload_id), unused)
        except JobError as exc:
            # The output is published, so this is no failure; the sweep of a later job finds what is left.
            _LOG.warning("cannot drop an upload that nothing needs: %s", exc.message)

    def _probe(self) -> None:
        """Prove that the store creates exclusively; the commit rests on it."""
        key = f"{self._staging}/probe-{secrets.token_hex(8)}"
        self._hurried.create(key, b"probe")
        unsafe = self._hurried.create(key, b"probe")
        self._hurried.delete([key])
        if unsafe:
            reason = stores.of(self._output.uri).unsafe
            raise JobError(Failure.UNSAFE_STORE, f"the store of {self._output.uri} {reason}")

    def _sweep(self) -> None:
        try:
            sweep(self._store, self._committer, self._job, self._identity.attempt)
        except JobError as exc:
            if exc.failure is not Failure.STORAGE_AUTH:
                raise
            # Committing needs no right to list uploads; without it, only other jobs' abandoned uploads stay.
            _LOG.warning("cannot look for abandoned uploads: %s", exc.message)

    def _schema_of(self, lf: pl.LazyFrame) -> pl.Schema:
        try:
            return lf.collect_schema()
        except (Exception, pl.exceptions.PanicException) as exc:
            raise classify(exc, default=Failure.USER_ERROR) from exc

    def _pour(self, lf: pl.LazyFrame) -> Sequence[Opened]:
        """Run a plan on Polars' streaming engine into the table's layout; returns the files that it made."""
        opened: list[Opened] = []

        def provide(args: FileProviderArgs) -> IO[bytes]:
            try:
                self._lease()
                values = hive.partition_values(args.partition_keys) if self._output.partition_by else {}
                file = self._uploads.begin(hive.folder(values) + self._next_name(), values)
                if values and self._expectations.columns:
                    self._keeper.partition(file.path, args.partition_keys)
                opened.append(file)
                return cast("IO[bytes]", self._uploads.writer(file))
            except Exception as exc:
                self._uploads.fail(exc)
                raise

        target = pl.PartitionBy(
            "",
            key=list(self._output.partition_by) or None,
            include_key=False if self._output.partition_by else None,
            approximate_bytes_per_file=BYTES_PER_FILE,
            file_path_provider=provide,
        )
        compression: Any = self._output.compression.value
        try:
            lf.sink_parquet(target, compression=compression, engine="streaming", mkdir=False)
        except (Exception, pl.exceptions.PanicException) as exc:
            self._uploads.check()
            self._check_stop()
            raise classify(exc, default=Failure.USER_ERROR) from exc
        return opened

    def _reading(self, file: str, have: pl.Schema) -> Sequence[pl.Expr] | None:
        """What to select from an engine's file; None if its bytes are as the table wants them."""
        order = self._table_order or list(self._schema)
        found = fit.expressions(file, have, self._schema, order)
        if found is None and self._output.partition_by:
            return [pl.col(name) for name in order]
        return found

    def _new_file(self) -> Opened:
        return self._uploads.begin(self._next_name(), {})

    def _next_name(self) -> str:
        return part_name(self._identity.uid, self._identity.attempt, self._identity.rank, next(self._sequence))

    def _write_empty(self) -> None:
        """A zero-row file with all columns, also the partition columns, so that plain readers learn every type.

        It lies at the root of data/ because no partition exists; the next commit with rows removes it.
        """
        with self._uploads.open(self._next_name(), {}) as file:
            compression: Any = self._output.compression.value
            columns = self._table_order or list(self._schema)
            frame = pl.DataFrame(schema=self._schema).select(columns)
            frame.write_parquet(cast("IO[bytes]", file), compression=compression)

    def _lease(self) -> None:
        """Show a sign of life, at most once an hour: other jobs drop uploads of jobs that show none for a day."""
        with self._state:
            if time.monotonic() - self._leased < LEASE_SECONDS and self._leased:
                return
            self._leased = time.monotonic()
        self._store.put(lease_key(self._identity.uid, self._identity.attempt, self._identity.rank), b"")

    def _fail(self, exc: BaseException) -> None:
        self._uploads.fail(exc)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise JobError(Failure.WORKER_LOST, "the attempt was told to stop before it committed")

    def _progress(self, files: int, rows: int, size: int) -> None:
        self._lease()
        if self._on_progress is not None:
            self._on_progress(files, rows, size)

    @property
    def _left_key(self) -> str:
        return f"{STAGING}{self._identity.uid}/{LEFT}"

    @property
    def _shared_key(self) -> str:
        return f"{self._staging}/rank-00000.inputs"

    def _rank_key(self, rank: int) -> str:
        return f"{self._staging}/rank-{rank:05d}"

    def _pending_key(self, rank: int) -> str:
        return f"{self._rank_key(rank)}.json"

    def _all_staged(self, sets: Sequence[PendingSet]) -> expect.Staged:
        """Bring what the expectations need of all ranks to this one."""
        theirs = {self._rank_key(rank): one.kept for rank, one in enumerate(sets) if rank != self._identity.rank}
        kept = [*self._kept, *self._keeper.gathered(self._store, theirs)]
        rows = sum(file.rows for one in sets for file in one.files)
        if self._expectations.columns and (found := sum(map(spool.rows, kept))) != rows:
            message = f"output.expect: {found} rows were kept to be checked, and {rows} were staged"
            raise JobError(Failure.INTERNAL_ERROR, message)
        nulls = {name: sum(one.nulls.get(name, 0) for one in sets) for name in self._expectations.counted}
        return expect.Staged(rows, nulls, kept, self._keeper.folder)

    def _pending(self, totals: Sequence[Totals]) -> Sequence[PendingSet]:
        """Everything that the ranks of this attempt have uploaded, by rank."""

        def fetch(rank: int) -> PendingSet:
            if rank == self._identity.rank and self._staged is not None:
                pending = self._staged
            else:
                key = self._pending_key(rank)
                body = self._store.get(key)
                if body is None:
                    raise JobError(Failure.INTERNAL_ERROR, f"rank {rank} has written no pending set: {key} is missing")
                me = self._identity
                pending = read_pending(key, body, me.uid, me.attempt, self._store.can_be)
            if totals and (found := _totals(pending.files)) != totals[rank]:
                raise JobError(
                    Failure.INTERNAL_ERROR,
                    f"the pending set of rank {rank} does not add up: it has {found.rows} rows in {found.files} files "
                    f"of {found.bytes} bytes, and the rank told of {totals[rank].rows} rows in {totals[rank].files} "
                    f"files of {totals[rank].bytes} bytes; nothing was committed",
                )
            return pending

        if totals and len(totals) != self._identity.ranks:
            text = f"{len(totals)} ranks have told what they staged, and there are {self._identity.ranks}"
            raise JobError(Failure.INTERNAL_ERROR, text)
        return self._store.parallel(fetch, range(self._identity.ranks))

    def _status(self, record: CommitRecord) -> OutputStatus:
        folders = {file.path.rpartition("/")[0] for file in record.add} - {""}
        return OutputStatus(
            uri=f"{self._output.uri.rstrip('/')}/{DATA}",
            version=record.version,
            files=len(record.add),
            rows=record.rows,
            bytes=record.bytes,
            partitions=len(folders),
            expectations=expect.shown(record.expectations),
        )


def _totals(files: Sequence[StagedFile]) -> Totals:
    return Totals(sum(file.rows for file in files), len(files), sum(file.bytes for file in files))
