"""The spool: parquet files that an engine has written to scratch, on their way into the store.

A file that is as the table wants it goes up byte by byte; any other is read by Polars' streaming engine and written
anew, into hive folders or with other types. Small ones wait until they make up a file of the table. All of it happens
in threads while the engine writes its next files, and `add` waits when too many bytes lie in scratch already.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.output import scratch
from gpuquery.runner.output.upload import PIECE, Opened, Uploads
from gpuquery.runner.parquet import footer

if TYPE_CHECKING:
    from pathlib import Path

    from gpuquery.runner.output.shape import Shape

THREADS = 2
"""Files at a time: their pieces share the threads of the uploads, so more would only hold more memory."""
WAITING_BYTES = 4 << 30
WAITING_SHARE = 8
"""Files under way may take that much of scratch, and at most this part of it: the engine spills there too."""
LOOK_SECONDS = 0.5
TAIL = 64 * 1024

Reading = Callable[[str, pl.Schema], Sequence[pl.Expr] | None]
"""What to select from a file of that name and schema; None to take its bytes as they are."""
Pour = Callable[[pl.LazyFrame, int | None], Sequence[Opened]]
"""Writes rows into the table's layout, so many a file; returns the files, perhaps with bytes still on their way."""
NewFile = Callable[[], Opened]
"""Makes the next file at the root of data/."""


class Spool:
    """Files on their way. `add` may be called from any thread."""

    def __init__(self, uploads: Uploads, shape: Shape, *, reading: Reading, pour: Pour, new_file: NewFile) -> None:
        self._uploads = uploads
        self._shape = shape
        self._reading = reading
        self._pour = pour
        self._new_file = new_file
        self._room = threading.Condition()
        self._waiting = 0
        self._most = 0
        self._gathered: dict[Path, int] = {}
        self._pool = ThreadPoolExecutor(THREADS, "spool")
        self._futures: list[Future[None]] = []

    def add(self, file: Path) -> None:
        """Take a whole file; waits for room. Raises the first fault of any file."""
        try:
            size = file.stat().st_size
        except OSError as exc:
            raise JobError(Failure.INTERNAL_ERROR, f"the engine's file {file} cannot be read: {exc.strerror}") from exc
        self.wait(size)
        with self._room:
            self._waiting += size
            if self._shape.enough([size]):
                self._submit({file: size})
                return
            self._gathered[file] = size
            if self._shape.enough(list(self._gathered.values())):
                self._release()

    def wait(self, size: int = 0) -> None:
        """Wait until there is room for a file of `size` bytes; one file alone always has room."""
        most = self._most = self._most or _most()
        with self._room:
            while self._waiting and self._waiting + size > most:
                self._uploads.check()
                self._release()
                self._room.wait(LOOK_SECONDS)
        self._uploads.check()

    def finish(self) -> None:
        """Wait until the bytes of all files are in the store; raises the first fault."""
        with self._room:
            self._release()
        for future in self._futures:
            future.result()
        self._uploads.check()
        self._pool.shutdown(wait=False)

    def abandon(self) -> None:
        """Take nothing more; what is under way fails by itself once the uploads are told to stop."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _release(self) -> None:
        """Let the gathered files go on."""
        if self._gathered:
            files, self._gathered = self._gathered, {}
            self._submit(files)

    def _submit(self, files: Mapping[Path, int]) -> None:
        try:
            self._futures.append(self._pool.submit(self._take, files))
        except RuntimeError as exc:  # the pool is shut down
            raise JobError(Failure.WORKER_LOST, "the attempt was told to stop") from exc

    def _take(self, files: Mapping[Path, int]) -> None:
        try:
            self._uploads.check()
            self._stage(files)
            for file in files:
                file.unlink(missing_ok=True)
        except BaseException as exc:  # a panic of Polars is no Exception
            names = ", ".join(file.name for file in files)
            error = scratch.full(exc) or classify(exc, f"staging the engine's file {names}")
            self._uploads.fail(error)
            raise error from exc
        finally:
            with self._room:
                self._waiting -= sum(files.values())
                self._room.notify_all()

    def _stage(self, files: Mapping[Path, int]) -> None:
        counts = {file: count for file in files if (count := rows(file))}
        if not counts:
            return  # a rank without rows of its own has such files
        sizes = [files[file] for file in counts]
        wanted = {file: self._reading(file.name, pl.Schema(pl.read_parquet_schema(file))) for file in counts}
        if self._shape.leaves(sizes) and None in wanted.values():
            opened: Sequence[Opened] = [self._copied(file) for file in counts]
        else:
            per_file = self._shape.rows_per_file(sum(counts.values()), sum(sizes))
            opened = self._pour(pl.concat([_selected(file, columns) for file, columns in wanted.items()]), per_file)
        self._uploads.flush(opened)

    def _copied(self, file: Path) -> Opened:
        made = self._new_file()
        with file.open("rb") as source, self._uploads.writer(made) as target:
            while chunk := source.read(PIECE):
                target.write(chunk)
        return made


def _selected(file: Path, columns: Sequence[pl.Expr] | None) -> pl.LazyFrame:
    lf = pl.scan_parquet(file, glob=False, hive_partitioning=False)
    return lf.select(columns) if columns else lf


def rows(file: Path) -> int:
    """Rows of a parquet file, by its footer. Raises JobError(ScratchFull or InternalError) where it is not whole."""
    try:
        with file.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            source.seek(max(0, size - TAIL))
            tail = source.read()
            need = footer.metadata_size(tail)
            if need > len(tail):
                source.seek(max(0, size - need))
                tail = source.read()
            return footer.row_count(tail)
    except footer.NotParquetError as exc:
        raise scratch.exhausted() or JobError(
            Failure.INTERNAL_ERROR, f"the engine's file {file} is not a whole parquet file: {exc}"
        ) from exc


def _most() -> int:
    status = os.statvfs(scratch.root())
    return min(WAITING_BYTES, status.f_frsize * status.f_blocks // WAITING_SHARE)
