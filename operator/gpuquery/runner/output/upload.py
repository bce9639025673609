"""Uploads: file objects that Polars writes to, whose bytes go to the store at once and stay invisible to readers.

Invisible because the uploads are deferred, and the commit completes them; or, in a table whose metadata names its
files, although each is completed as soon as it is whole.

Polars calls `write` from its own threads and lets go of the object when the file is whole; `io.RawIOBase` turns that
into `close`, wherever the last reference is dropped. Requests run in a bounded pool, and `write` waits when too many
bytes are on their way, so memory is bounded by (pieces under way + one unfinished piece for each open file), whatever
the size of the result.
"""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.output import statistics
from gpuquery.runner.output.record import StagedFile
from gpuquery.runner.parquet import footer
from gpuquery.runner.stores.base import DATA, Piece, Store

if TYPE_CHECKING:
    from gpuquery.runner.output.kept import Keeper
    from gpuquery.runner.output.record import Statistics

MIB = 1 << 20
PIECE = 8 * MIB
SMALL_PIECE = 5 * MIB
"""S3's least size of a part that is not the last."""
MANY_FILES = 32
THREADS = 12
UNDER_WAY = 16
HOLD_LEAST, HOLD_MOST, HOLD_SHARE = 1 * MIB, 8 * MIB, 8
"""How much of a file's end is held back, so that its metadata is at hand when the row count is wanted."""

Progress = Callable[[int, int, int], None]
OnFault = Callable[[JobError], None]


@dataclass
class _File:
    """What is known of one file while it is written. Its writer is a separate object, see `DeferredFile`."""

    path: str
    values: Mapping[str, str | None]
    piece: int
    chunks: deque[memoryview] = field(default_factory=deque)
    held: int = 0
    sent: int = 0
    pieces: list[Future[str]] = field(default_factory=list)
    tags: dict[int, str] = field(default_factory=dict)
    """What the store has said of the pieces that it has, by number."""
    rows: int | None = None
    statistics: Statistics | None = None
    sealed: bool = False
    last: int = 0
    """Number of the last piece, once it is known."""
    upload_id: str = ""
    complete: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    begin: threading.Lock = field(default_factory=threading.Lock)


Opened = _File
"""An entered file. It refers to no writer, so that Polars alone holds that one."""


@dataclass(frozen=True)
class Wanted:
    """What a table wants of its files."""

    below: str = DATA
    """Beginning of all keys."""
    completes: bool = False
    """Whether each upload is completed as soon as its file is whole."""
    statistics: int = 0
    """Of how many columns of values, the first ones, statistics are wanted."""
    ended: Callable[[bytes], bytes] | None = None
    """Gives the end of a file, with all of its metadata, as the table wants it. Raises NotParquetError."""


class Uploads:
    """All uploads of one rank. `open` and what it returns may be used from many threads."""

    def __init__(
        self,
        store: Store,
        *,
        stop: threading.Event,
        on_progress: Progress | None = None,
        on_fault: OnFault | None = None,
        keeper: Keeper | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        """`keeper` gets the bytes and the footer of each file, for expectations."""
        self._wanted = wanted or Wanted()
        self._store = store
        self._keeper = keeper
        self._stop = stop
        self._on_progress = on_progress
        self._on_fault = on_fault
        self._pool = ThreadPoolExecutor(THREADS, "upload")
        self._room = threading.BoundedSemaphore(UNDER_WAY)
        self._lock = threading.RLock()
        self._files: list[_File] = []
        self._ended: deque[_File] = deque()
        """Files that their writer is done with, and that nobody has sealed yet."""
        self._open = 0
        self._totals = [0, 0, 0]
        self._incomplete: JobError | None = None
        self._fault: JobError | None = None

    def open(self, path: str, values: Mapping[str, str | None]) -> DeferredFile:
        """Open a file for writing."""
        return self.writer(self.begin(path, values))

    def begin(self, path: str, values: Mapping[str, str | None]) -> Opened:
        """Enter a file, by its path below `below`, which `writer` then opens."""
        self._seal_ended()
        self.check()
        self._store.check_key(self._wanted.below + path)
        with self._lock:
            self._open += 1
            file = _File(path, values, PIECE if self._open <= MANY_FILES else SMALL_PIECE)
            self._files.append(file)
        return file

    def writer(self, file: Opened) -> DeferredFile:
        """Return the one writer of a file."""
        return DeferredFile(self, file)

    def flush(self, files: Sequence[Opened]) -> None:
        """Wait until every byte of these files is in the store. Their writers must be done with them."""
        for file in files:
            self.seal(file)
            for piece in file.pieces:
                with contextlib.suppress(Exception):  # `check` has the first fault, and says more
                    piece.result()
        self.check()

    def finish(self) -> Sequence[StagedFile]:
        """Wait until every byte is in the store; what is returned can be committed. May be called again."""
        for file in self._files:
            self.seal(file)
        if self._incomplete is not None:
            raise self._incomplete
        staged = []
        for file in self._files:
            try:
                tags = [piece.result() for piece in file.pieces]
            except Exception as exc:
                self.fail(exc)
                break
            staged.append(
                StagedFile(
                    path=file.path,
                    upload_id="" if file.complete else file.upload_id,
                    pieces=() if file.complete else tuple(tags),
                    bytes=file.sent,
                    rows=file.rows or 0,
                    values=file.values,
                    statistics=file.statistics,
                )
            )
        self.check()
        return staged

    def close(self) -> None:
        """Let the threads go, after `finish`."""
        self._pool.shutdown(wait=False)

    @property
    def begun(self) -> bool:
        """Whether there may be a file, or a part of one, in the store."""
        return bool(self._files)

    def abandon(self, store: Store, patience: float, *, remove: bool = True) -> None:
        """Drop all uploads through `store`, within about `patience` seconds. `stop` must have been set before.

        Files that are complete are removed only if `remove` says that nobody can commit them.
        """
        deadline = time.monotonic() + patience
        self._pool.shutdown(wait=False, cancel_futures=True)
        for file in self._files:
            for piece in file.pieces:
                if not piece.done() and (left := deadline - time.monotonic()) > 0:
                    _wait(piece, left)
        begun = [file for file in self._files if file.upload_id and not file.complete]
        store.parallel(lambda file: store.abort(self._wanted.below + file.path, file.upload_id), begun)
        if self._wanted.completes and remove:
            store.delete([self._wanted.below + file.path for file in self._files if file.pieces])

    def write(self, file: _File, data: bytes) -> None:
        """Take bytes; give a piece to the pool when it is whole."""
        self._seal_ended()
        self.check()
        with file.lock:
            if file.sealed:
                self.fail(JobError(Failure.INTERNAL_ERROR, f"{file.path} was written to after its end"))
                self.check()
            file.chunks.append(memoryview(data))
            file.held += len(data)
            if self._keeper is not None:
                self._keep(file.path, data)
            hold = min(HOLD_MOST, max(HOLD_LEAST, file.sent // HOLD_SHARE))
            while file.held >= file.piece + hold:
                self._send(file, _take(file, file.piece))

    def seal(self, file: _File) -> None:
        """The file is whole: count its rows and send its last piece.

        Several threads may come to it at once; with the file's lock the second finds the work done.
        """
        with file.lock:
            if not file.sealed:
                file.sealed = True
                self._send_last(file)

    def ended(self, file: _File) -> None:
        """Note that a writer is done, which may be told anywhere.

        The garbage collector may tell it in a thread that is just handing a piece to a pool, whose lock it then holds.
        So nothing is done here that takes a lock; whoever writes next, or `finish`, seals the file.
        """
        self._ended.append(file)

    def fail(self, exc: BaseException) -> None:
        """Remember the first fault; `check` raises it."""
        fault = classify(exc, "writing the output")
        if fault is not exc:
            fault.__cause__ = exc
        with self._lock:
            first = self._fault is None
            self._fault = self._fault or fault
        if first and self._on_fault is not None and not self._stop.is_set():
            self._on_fault(fault)

    def check(self) -> None:
        """Raise the first fault, or that the attempt was told to stop: what Polars makes of it later says less."""
        if self._fault is not None:
            raise self._fault
        if self._stop.is_set():
            raise JobError(Failure.WORKER_LOST, "the attempt was told to stop")

    def _seal_ended(self) -> None:
        while self._ended:
            try:
                file = self._ended.popleft()
            except IndexError:  # another thread has taken it
                return
            try:
                self.seal(file)
            except Exception as exc:
                self.fail(exc)

    def _keep(self, path: str, data: bytes) -> None:
        assert self._keeper is not None
        try:
            self._keeper.copy(path, data)
        except JobError as exc:
            self.fail(exc)
            raise

    def _send_last(self, file: _File) -> None:
        with self._lock:
            self._open -= 1
        if self._stop.is_set() or self._fault is not None:
            file.chunks.clear()
            return
        tail = _take(file, file.held)
        try:
            file.rows = footer.row_count(tail)
            if self._wanted.ended is not None:
                tail = self._wanted.ended(tail)
            if self._wanted.statistics:
                file.statistics = statistics.of(footer.metadata(tail), self._wanted.statistics)
        except footer.TooLargeError as exc:
            text = f"{file.path} has too much metadata for its size ({exc}): write fewer columns"
            self.fail(JobError(Failure.OUTPUT_LIMIT, text))
            return
        except footer.NotParquetError as exc:
            # The usual cause is a query that failed in the middle, whose own error is the one that counts. So this is
            # no fault yet, but nothing can be committed.
            self._incomplete = JobError(Failure.INTERNAL_ERROR, f"{file.path} is not a whole parquet file: {exc}")
            return
        if self._keeper is not None:
            self._keeper.whole(file.path, tail, file.values)
        file.last = len(file.pieces) + 1
        self._send(file, tail)
        self._report(files=1, rows=file.rows)

    def _send(self, file: _File, body: bytes) -> None:
        piece = Piece(len(file.pieces) + 1, file.sent, body)
        file.sent += len(body)
        while not self._room.acquire(timeout=1):
            self.check()
        try:
            future = self._pool.submit(self._upload, file, piece)
        except RuntimeError as exc:  # the pool is shut down: the attempt was told to stop
            self._room.release()
            raise JobError(Failure.WORKER_LOST, "the attempt was told to stop") from exc
        future.add_done_callback(lambda _: self._room.release())
        file.pieces.append(future)

    def _upload(self, file: _File, piece: Piece) -> str:
        try:
            self.check()
            key = self._wanted.below + file.path
            if self._wanted.completes and file.last == piece.number == 1:
                self._store.put(key, piece.body)  # one request in place of three
                file.complete = True
                tag = ""
            else:
                tag = self._upload_piece(file, key, piece)
            self._report(size=len(piece.body))
        except Exception as exc:
            self.fail(exc)
            raise
        return tag

    def _upload_piece(self, file: _File, key: str, piece: Piece) -> str:
        with file.begin:
            file.upload_id = file.upload_id or self._store.begin(key)
        if self._stop.is_set():  # `abandon` may have looked before the upload had an id
            self._store.abort(key, file.upload_id)
        self.check()
        tag = self._store.upload(key, file.upload_id, piece)
        with file.begin:
            file.tags[piece.number] = tag
            whole = self._wanted.completes and len(file.tags) == file.last
        if whole:  # by whichever piece arrives last, so that no thread waits for another
            self._complete(file, key)
        return tag

    def _complete(self, file: _File, key: str) -> None:
        tags = [file.tags[number] for number in range(1, file.last + 1)]
        if not self._store.complete(key, file.upload_id, tags) and self._store.size(key) != file.sent:
            raise JobError(
                Failure.STORAGE_UNAVAILABLE,
                f"the upload of {key} has vanished before it was complete: did a lifecycle rule of the bucket drop it "
                "(AbortIncompleteMultipartUpload)? Nothing was committed",
            )
        file.complete = True

    def _report(self, *, files: int = 0, rows: int = 0, size: int = 0) -> None:
        if self._on_progress is None:
            return
        with self._lock:
            self._totals = [self._totals[0] + files, self._totals[1] + rows, self._totals[2] + size]
            totals = tuple(self._totals)
        self._on_progress(*totals)


class DeferredFile(io.RawIOBase):
    """The writer of one file. Nothing else may refer to it: that Polars lets go of it means that the file is whole."""

    def __init__(self, uploads: Uploads, file: _File) -> None:
        super().__init__()
        self._uploads = uploads
        self._file = file

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def write(self, data: Any) -> int:
        """Take all of `data`; waits while too much is on its way."""
        self._uploads.write(self._file, bytes(data))  # no copy where Polars hands over bytes
        return len(data)

    def close(self) -> None:
        """Say that the file has ended. Never raises: it may be called by the garbage collector."""
        if not self.closed:
            self._uploads.ended(self._file)
        super().close()


def _take(file: _File, size: int) -> bytes:
    """Take exactly `size` bytes off the front: equal pieces, as some S3 servers demand.

    Views, so that what is left of a chunk is not copied for every piece that is cut from it: a chunk may be the whole
    result of a query.
    """
    taken, left = [], size
    while left:
        chunk = file.chunks.popleft()
        if len(chunk) > left:
            file.chunks.appendleft(chunk[left:])
            chunk = chunk[:left]
        taken.append(chunk)
        left -= len(chunk)
    file.held -= size
    return b"".join(taken)


def _wait(piece: Future[str], seconds: float) -> None:
    with contextlib.suppress(TimeoutError, CancelledError):
        piece.exception(timeout=seconds)
