"""The sink: takes a query's result into the output's folder, in one atomic commit.

    sink = Sink(plan, Identity(uid, attempt))
    done = sink.preflight()            # committed by an earlier attempt? then there is nothing to run
    if done is None:
        sink.check_schema(lf.collect_schema())
        sink.write(lf)                 # bytes go to the store and stay invisible
        done = sink.commit()           # rank 0

Every method raises `JobError` with the class of the failure. After an error, and on SIGTERM, call `abort`: from another
thread than the one that writes, never inside a signal handler, for it takes locks. It knows by itself when nothing may
be dropped any more because a commit may already stand.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import OutputMode
from gpuquery.api.status import OutputStatus
from gpuquery.plan.plan import JobRef, Plan
from gpuquery.runner import storage
from gpuquery.runner.errors import JobError
from gpuquery.runner.sink import hive
from gpuquery.runner.sink.commit import Committer, Hook, Result, check_fits, no_hook
from gpuquery.runner.sink.faults import classify
from gpuquery.runner.sink.posix import PosixStore
from gpuquery.runner.sink.record import Column, CommitRecord, PendingSet, StagedFile, part_name, read_pending
from gpuquery.runner.sink.s3 import S3Store
from gpuquery.runner.sink.store import DATA, STAGING, Store
from gpuquery.runner.sink.sweep import LEASE_SECONDS, lease_key, sweep, sweep_finished
from gpuquery.runner.sink.upload import OnFault, Progress, Uploads

if TYPE_CHECKING:
    from polars.io.partition import FileProviderArgs

_LOG = logging.getLogger(__name__)

BYTES_PER_FILE = 1 << 30
"""Bytes in memory of a file's rows: a few hundred MB compressed, small enough to be read by many workers."""
ABORT_PATIENCE = 4.0


@dataclass(frozen=True)
class Identity:
    """Who writes: the job's UID, the attempt from 1, and this rank among the ranks of the attempt."""

    uid: str
    attempt: int
    rank: int = 0
    ranks: int = 1


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
        self._output = plan.output
        self._identity = identity
        self._job = JobRef(namespace=plan.job.namespace, name=plan.job.name, uid=identity.uid)
        self._stop = threading.Event()
        self._staging = f"{STAGING}{identity.uid}/{identity.attempt}"
        self._store, self._hurried = self._stores(plan)
        self._committer = Committer(self._store, self._job, identity.attempt, plan.output.mode, hook)
        self._on_progress = on_progress
        self._uploads = Uploads(self._store, stop=self._stop, on_progress=self._progress, on_fault=on_fault)
        self._columns: tuple[Column, ...] = ()
        self._table_order: list[str] = []
        self._staged: PendingSet | None = None
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
        self._probe()
        self._sweep()
        hurried.check_mode()
        return None

    def check_schema(self, schema: pl.Schema) -> None:
        """Raise UserError if a result of this schema cannot be written, before the query runs."""
        hive.check_schema(schema, self._output.partition_by)
        self._columns = tuple(Column(name=name, type=str(dtype)) for name, dtype in schema.items())
        if self._output.mode is OutputMode.APPEND:
            self._committer.log.refresh()
            if (latest := self._committer.log.latest()) is not None:
                check_fits(latest, Result((), self._columns, self._output.partition_by))
                # Some readers go by the position of columns when they read several files.
                self._table_order = [column.name for column in latest.columns]

    def write(self, lf: pl.LazyFrame) -> None:
        """Run the query on Polars' streaming engine straight into invisible uploads, then write the pending set."""
        schema = self._schema_of(lf)
        self.check_schema(schema)
        self._lease()
        target = pl.PartitionBy(
            "",
            key=list(self._output.partition_by) or None,
            include_key=False if self._output.partition_by else None,
            approximate_bytes_per_file=BYTES_PER_FILE,
            file_path_provider=self._provide,
        )
        compression: Any = self._output.compression.value
        try:
            lf = lf.select(self._table_order) if self._table_order else lf
            lf.sink_parquet(target, compression=compression, engine="streaming", mkdir=False)
        except (Exception, pl.exceptions.PanicException) as exc:
            self._uploads.check()
            self._check_stop()
            raise classify(exc, default=Failure.USER_ERROR) from exc
        staged = self._uploads.finish()
        if not staged and self._identity.rank == 0:
            self._write_empty(schema)
            staged = self._uploads.finish()
        self._staged = PendingSet(files=tuple(staged))
        self._store.put(self._pending_key(self._identity.rank), self._staged.model_dump_json().encode())

    def commit(self) -> OutputStatus:
        """Commit what all ranks have written, publish it, and say what it is. For rank 0, after all ranks' `write`.

        If another attempt of this job was faster, its commit counts and is returned. Raises OutputExists if the mode
        is errorIfExists and another job was faster.
        """
        self._check_stop()
        result = Result(self._pending(), self._columns, self._output.partition_by)
        with self._state:
            self._check_stop()
            self._committing = True
        try:
            outcome = self._committer.commit(result)
        except JobError as exc:
            # These say for certain that no record of ours exists; after any other fault one may.
            if exc.failure in (Failure.OUTPUT_EXISTS, Failure.USER_ERROR, Failure.WORKER_LOST):
                self._committing = False
            raise
        self._drop(outcome.unused)
        self._uploads.close()
        return self._status(outcome.record)

    def abort(self) -> None:
        """Drop what this rank has uploaded, within seconds; also from another thread while `write` runs.

        Does nothing once `commit` has begun, unless it was refused: a record may stand, which needs the uploads. What
        is left then, the job's next attempt publishes or drops.
        """
        with self._state:
            if self._committing:
                return
            self._stop.set()
        try:
            self._uploads.abandon(self._hurried, ABORT_PATIENCE)
            prefix = f"{self._staging}/rank-{self._identity.rank:05d}."
            self._hurried.delete([item.key for item in self._hurried.list(f"{self._staging}/") if prefix in item.key])
        except JobError:
            return  # the next attempt's sweep finds the rest

    def _drop(self, unused: Sequence[StagedFile]) -> None:
        try:
            self._store.parallel(lambda file: self._store.abort(DATA + file.path, file.upload_id), unused)
        except JobError as exc:
            # The output is published, so this is no failure; the sweep of a later job finds what is left.
            _LOG.warning("cannot drop an upload that nothing needs: %s", exc.message)

    def _stores(self, plan: Plan) -> tuple[Store, Store]:
        place = storage.locate(plan.output.uri)
        if not place.is_s3:
            local = PosixStore(place.prefix, self._staging)
            return local, local
        shared = storage.session()
        return (
            S3Store(place, plan.store, stop=self._stop, shared=shared),
            S3Store(place, plan.store, hurried=True, shared=shared),
        )

    def _probe(self) -> None:
        """Prove that the store creates exclusively; the commit rests on it."""
        key = f"{self._staging}/probe-{secrets.token_hex(8)}"
        self._hurried.create(key, b"probe")
        unsafe = self._hurried.create(key, b"probe")
        self._hurried.delete([key])
        if unsafe:
            raise JobError(
                Failure.UNSAFE_STORE,
                f"the store of {self._output.uri} ignores conditional writes (If-None-Match: *), so two attempts could "
                "both commit: use a store that honours them (AWS S3, SeaweedFS, MinIO, Ceph from Squid on)",
            )

    def _sweep(self) -> None:
        try:
            sweep(self._store, self._committer, self._job, self._identity.attempt)
        except JobError as exc:
            if exc.failure is not Failure.STORAGE_AUTH:
                raise
            # Whoever may not list uploads can still commit; only other jobs' litter stays.
            _LOG.warning("cannot look for abandoned uploads: %s", exc.message)

    def _schema_of(self, lf: pl.LazyFrame) -> pl.Schema:
        try:
            return lf.collect_schema()
        except (Exception, pl.exceptions.PanicException) as exc:
            raise classify(exc, default=Failure.USER_ERROR) from exc

    def _provide(self, args: FileProviderArgs) -> IO[bytes]:
        """Open the file that Polars wants to write next."""
        try:
            self._lease()
            values = hive.partition_values(args.partition_keys) if self._output.partition_by else {}
            file = self._uploads.open(hive.folder(values) + self._next_name(), values)
            return cast("IO[bytes]", file)
        except Exception as exc:
            self._uploads.fail(exc)
            raise

    def _next_name(self) -> str:
        return part_name(self._identity.uid, self._identity.attempt, self._identity.rank, next(self._sequence))

    def _write_empty(self, schema: pl.Schema) -> None:
        """A zero-row file with all columns, also the partition columns, so that plain readers learn every type.

        It lies at the root of data/ because no partition exists; the next commit with rows removes it.
        """
        with self._uploads.open(self._next_name(), {}) as file:
            compression: Any = self._output.compression.value
            pl.DataFrame(schema=schema).write_parquet(cast("IO[bytes]", file), compression=compression)

    def _lease(self) -> None:
        """Show a sign of life, at most once an hour: other jobs drop uploads of jobs that show none for a day."""
        with self._state:
            if time.monotonic() - self._leased < LEASE_SECONDS and self._leased:
                return
            self._leased = time.monotonic()
        self._store.put(lease_key(self._identity.uid, self._identity.attempt, self._identity.rank), b"")

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise JobError(Failure.WORKER_LOST, "the attempt was told to stop before it committed")

    def _progress(self, files: int, rows: int, size: int) -> None:
        self._lease()
        if self._on_progress is not None:
            self._on_progress(files, rows, size)

    def _pending_key(self, rank: int) -> str:
        return f"{self._staging}/rank-{rank:05d}.json"

    def _pending(self) -> Sequence[StagedFile]:
        """Everything that the ranks of this attempt have uploaded."""

        def fetch(rank: int) -> Sequence[StagedFile]:
            if rank == self._identity.rank and self._staged is not None:
                return self._staged.files
            key = self._pending_key(rank)
            body = self._store.get(key)
            if body is None:
                raise JobError(Failure.INTERNAL_ERROR, f"rank {rank} has written no pending set: {key} is missing")
            return read_pending(key, body).files

        found = self._store.parallel(fetch, range(self._identity.ranks))
        return [file for files in found for file in files]

    def _status(self, record: CommitRecord) -> OutputStatus:
        folders = {file.path.rpartition("/")[0] for file in record.add} - {""}
        return OutputStatus(
            uri=f"{self._output.uri.rstrip('/')}/{DATA}",
            version=record.version,
            files=len(record.add),
            rows=record.rows,
            bytes=record.bytes,
            partitions=len(folders),
        )
