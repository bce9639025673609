"""The writer: takes the rows of one rank into files of the table, whatever its format.

    writer = Writer(table, asked, expectations, on_progress=..., on_fault=...)
    writer.check_schema(schema)
    writer.write(lf)                 # or `add` whole files of an engine
    pending = writer.finish()        # every byte is in the store

Its files stay invisible: their uploads are not complete, or no metadata of the table names them.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from typing import IO, TYPE_CHECKING, cast

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.inputs import dtypes
from gpuquery.runner.output import fit
from gpuquery.runner.output.kept import Keeper
from gpuquery.runner.output.record import PendingSet, part_name
from gpuquery.runner.output.scratch import Scratch
from gpuquery.runner.output.shape import Shape
from gpuquery.runner.output.spool import Spool
from gpuquery.runner.output.sweep import LEASE_SECONDS, lease_key
from gpuquery.runner.output.tables.base import Layout
from gpuquery.runner.output.upload import OnFault, Opened, Progress, Uploads, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from polars.io.partition import FileProviderArgs

    from gpuquery.runner.output.expect import Expectations
    from gpuquery.runner.output.tables.base import Asked, Table
    from gpuquery.runner.stores.base import Store


class Writer:
    """The files of one rank of one attempt. Making one opens the table's store."""

    def __init__(
        self,
        table: Table,
        asked: Asked,
        expectations: Expectations,
        *,
        on_progress: Progress | None = None,
        on_fault: OnFault | None = None,
    ) -> None:
        """`on_progress` and `on_fault` are those of `Sink`."""
        self._table = table
        self._store = table.store
        self._output = asked.plan.output
        self._identity = asked.identity
        self._stop = asked.stop
        self._on_progress = on_progress
        self._expectations = expectations
        self.keeper = Keeper(self._scratch_of(), self._fail)
        self._uploads = Uploads(
            self._store, stop=asked.stop, on_progress=self._progress, on_fault=on_fault,
            keeper=self.keeper if expectations else None,
            wanted=Wanted(table.below, not table.deferred, table.statistics, table.ended),
        )  # fmt: skip
        self._scratch = self._scratch_of()
        self._shape = Shape(self._output)
        self._spool = Spool(self._uploads, self._shape, reading=self._reading, pour=self._pour, new_file=self._new_file)
        self._schema = pl.Schema()
        self._layout = Layout()
        self._sequence = itertools.count()
        self._token = "" if table.deferred else secrets.token_hex(4)
        """Whole objects of two processes that take themselves for the same rank must not have one name."""
        self._leased = 0.0
        self._lease_lock = threading.Lock()

    def check_schema(self, schema: pl.Schema) -> None:
        """Raise UserError if a result of this schema cannot be written, before the query runs."""
        self._shape.check(schema)
        self._layout = self._table.fit(schema)
        self._shape.partitioned = bool(self._layout.keys)
        if schema != self._schema:  # `write` comes here again
            self._expectations.bind(schema)
            copies = self._output.keep_failed is not None
            self.keeper.want(self._expectations.columns, self._expectations.counted, copies=copies)
        self._schema = pl.Schema(schema)

    @property
    def schema(self) -> pl.Schema:
        """The planned columns."""
        return self._schema

    def write(self, lf: pl.LazyFrame) -> None:
        """Run the query on Polars' streaming engine straight into invisible files."""
        self.check_schema(self._schema_of(lf))
        self._lease()
        self._pour(lf)
        self._uploads.finish()

    def scratch(self) -> Path:
        """Return a new empty folder for this rank; all of them are removed at the end."""
        return self._scratch.folder()

    def add(self, file: Path) -> None:
        """Stage the rows of a whole parquet file; waits when too many bytes are under way. See `Sink.add`."""
        self._lease()
        self._spool.add(file)

    def wait(self) -> None:
        """Wait until there is room for another file; raises the first fault of the files before."""
        self._spool.wait()

    def finish(self) -> tuple[PendingSet, Sequence[Path]]:
        """Wait until every byte is in the store; returns what is there, and what is kept for the expectations."""
        self._spool.finish()
        staged = self._uploads.finish()
        if not staged and self._identity.rank == 0 and self._table.writes_empty:
            self._write_empty()
            staged = self._uploads.finish()
        self._scratch.remove()
        kept, nulls = self.keeper.finish()
        return PendingSet(files=tuple(staged), nulls=nulls, kept=len(kept)), kept

    def close(self) -> None:
        """Let the threads go, after `finish`."""
        self._uploads.close()

    @property
    def begun(self) -> bool:
        """Whether there may be a file in the store."""
        return self._uploads.begun

    def give_up(self) -> None:
        """Take nothing more, and free the scratch. `stop` must have been set before."""
        self._spool.abandon()
        self._scratch.remove()
        self.keeper.remove()

    def abandon(self, store: Store, patience: float, *, remove: bool) -> None:
        """Drop what this rank has uploaded, within about `patience` seconds; whole objects only with `remove`."""
        self._uploads.abandon(store, patience, remove=remove)

    def _scratch_of(self) -> Scratch:
        return Scratch(self._identity.attempt, self._identity.rank)

    def _schema_of(self, lf: pl.LazyFrame) -> pl.Schema:
        try:
            return lf.collect_schema()
        except (Exception, pl.exceptions.PanicException) as exc:
            raise classify(exc, default=Failure.USER_ERROR) from exc

    def _pour(self, lf: pl.LazyFrame, rows_per_file: int | None = None) -> Sequence[Opened]:
        """Run a plan of the planned columns on Polars' streaming engine into the table's layout; returns the files that
        it made. `rows_per_file` is where they are cut, if that is known."""
        opened: list[Opened] = []
        keys = list(self._layout.keys)

        def provide(args: FileProviderArgs) -> IO[bytes]:
            try:
                self._lease()
                values = self._table.values(args.partition_keys) if keys else {}
                file = self._uploads.begin(self._table.path(values, self._next_name()), values)
                if keys and self._expectations.columns:
                    self.keeper.partition(file.path, args.partition_keys)
                opened.append(file)
                return cast("IO[bytes]", self._uploads.writer(file))
            except Exception as exc:
                self._uploads.fail(exc)
                raise

        target = pl.PartitionBy(
            "",
            key=keys or None,
            include_key=False if keys else None,
            file_path_provider=provide,
            **self._shape.limits(rows_per_file),
        )
        try:
            self._shaped(lf).sink_parquet(target, engine="streaming", mkdir=False, **self._shape.options)
        except (Exception, pl.exceptions.PanicException) as exc:
            self._uploads.check()
            if self._stop.is_set():
                raise told_to_stop() from exc
            raise classify(exc, default=Failure.USER_ERROR) from exc
        return opened

    def _shaped(self, lf: pl.LazyFrame) -> pl.LazyFrame:
        lf = self._shape.sorted(lf)
        lf = lf.select(self._layout.select) if self._layout.select else lf
        if (order := self._layout.order) is None:
            return lf
        # The order of output.files.sortBy is kept where the table's leaves rows equal.
        return lf.sort(
            order.by, descending=list(order.descending), nulls_last=list(order.nulls_last), maintain_order=True
        )

    def _reading(self, file: str, have: pl.Schema) -> Sequence[pl.Expr] | None:
        """What to select from an engine's file to get the planned columns; None if its bytes are as the table wants
        them."""
        layout, order = self._layout, list(self._schema)
        found = fit.expressions(file, have, self._schema, order)
        if found is None and (layout.select or layout.keys or not layout.verbatim):
            return [dtypes.column(name) for name in order]
        return found

    def _new_file(self) -> Opened:
        return self._uploads.begin(self._table.path({}, self._next_name()), {})

    def _next_name(self) -> str:
        me = self._identity
        return part_name(me.uid, me.attempt, me.rank, next(self._sequence), self._token)

    def _write_empty(self) -> None:
        """A zero-row file with all columns, also the partition columns, so that plain readers learn every type.

        It lies at the root of data/ because no partition exists; the next commit with rows removes it.
        """
        with self._uploads.writer(self._new_file()) as file:
            frame = self._shaped(pl.LazyFrame(schema=self._schema)).collect()
            frame.write_parquet(cast("IO[bytes]", file), **self._shape.options)

    def _lease(self) -> None:
        """Show a sign of life, at most once an hour: other jobs drop files of jobs that show none for a day."""
        with self._lease_lock:
            if time.monotonic() - self._leased < LEASE_SECONDS and self._leased:
                return
            self._leased = time.monotonic()
        self._store.put(lease_key(self._identity.uid, self._identity.attempt, self._identity.rank), b"")

    def _fail(self, exc: BaseException) -> None:
        self._uploads.fail(exc)

    def _progress(self, files: int, rows: int, size: int) -> None:
        self._lease()
        if self._on_progress is not None:
            self._on_progress(files, rows, size)


def told_to_stop() -> JobError:
    """The failure of an attempt that was told to stop."""
    return JobError(Failure.WORKER_LOST, "the attempt was told to stop before it committed")
