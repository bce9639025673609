"""Kept columns: what the expectations read of a result, taken from the very bytes that go to the store.

Nobody can read a staged file back: its bytes are parts of an upload that is not complete. So the bytes of each file are
also written to scratch while they go up, whichever engine made them. When all files are whole, and no query of Polars
runs any more, the columns that are needed are taken out of each copy, into small files, and the copy is removed. So
scratch holds the bytes of the result once more, and memory a few times BATCH_BYTES. Ranks other than 0 put their kept
files beside their pending set, where rank 0 finds them.

Nulls of flat columns need no copy: the footer of each file tells how many there are, and the footer is at hand when the
file ends. Polars writes these counts, and libcudf does by default (`_stats_level = STATISTICS_ROWGROUP` in
cudf/io/parquet.hpp of 26.10, which cudf-polars leaves as it is; read there, not seen on a GPU). A file without them is
refused, unless its schema allows no nulls.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.inputs import dtypes
from gpuquery.runner.output import scratch
from gpuquery.runner.output.duplicates import memory
from gpuquery.runner.parquet import footer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gpuquery.runner.output.scratch import Scratch
    from gpuquery.runner.stores.base import Store

BATCH_BYTES = 64 << 20
"""Bytes in memory of the rows of one kept file, about."""
FIRST_ROWS = 65_536
"""Rows of the first one, whose width tells how many rows the next ones take."""


class Keeper:
    """The kept columns of one rank. `want` comes first; the other methods may be called from any thread."""

    def __init__(self, own: Scratch, on_fault: Callable[[BaseException], None]) -> None:
        """`own` is scratch of its own, which outlives the sealing; `on_fault` gets what went wrong in a thread."""
        self._scratch = own
        self._on_fault = on_fault
        self._columns: Sequence[str] = ()
        self._counted: Sequence[str] = ()
        self._folder: Path | None = None
        self._keys: dict[str, pl.DataFrame] = {}
        self._nulls: Counter[str] = Counter()
        self._lock = threading.RLock()  # the garbage collector may close a file anywhere
        self._whole: list[str] = []
        self._stays = False

    def want(self, columns: Sequence[str], counted: Sequence[str], *, copies: bool) -> None:
        """Keep the values of `columns`, and count the nulls of the flat columns `counted`.

        With `copies` also keep whole copies, until `remove`.
        """
        self._columns, self._counted, self._stays = columns, counted, copies
        if columns or copies:
            self._folder = self._scratch.folder()

    def copy(self, path: str, data: bytes) -> None:
        """Take bytes of a file of the table, in their order. Raises JobError.

        The copy is opened each time: there may be more files under way than a process may have open.
        """
        if self._folder is None:
            return
        try:
            with self._of(self._folder, path).open("ab") as file:
                file.write(data)
        except OSError as exc:
            raise scratch.full(exc) or classify(exc, "copying the output for output.expect") from exc

    def partition(self, path: str, keys: pl.DataFrame) -> None:
        """Tell the values of a file's partition, a frame of one row. The file is not yet written."""
        with self._lock:
            self._keys[path] = keys

    def whole(self, path: str, tail: bytes, values: Mapping[str, str | None]) -> None:
        """Take a file that is whole. Quick, for its caller holds locks: the work is done by `finish`."""
        if self._counted:
            self._count(footer.parse(footer.metadata(tail)), values)
        if self._folder is not None:
            with self._lock:
                self._whole.append(path)

    def finish(self) -> tuple[Sequence[Path], Mapping[str, int]]:
        """Return the kept files and the nulls by column, once all files were taken; raises the first fault."""
        kept: list[Path] = []
        if self._folder is not None and self._columns:
            for path in self._whole:
                kept += self._take(self._of(self._folder, path), self._keys.get(path))
        return kept, {name: self._nulls[name] for name in self._counted}

    @property
    def copies(self) -> Mapping[str, Path]:
        """The whole copies, by the paths of their files in the table."""
        return {path: self._of(self._folder, path) for path in self._whole} if self._stays and self._folder else {}

    def hand_over(self, store: Store, stem: str, files: Sequence[Path]) -> None:
        """Leave kept files in a store for rank 0, as objects `stem` and a number, and remove all but whole copies."""
        store.parallel(lambda n: store.put(_key(stem, n), files[n].read_bytes()), range(len(files)))
        if not self._stays:
            self.remove()

    def gathered(self, store: Store, counts: Mapping[str, int]) -> Sequence[Path]:
        """Fetch what other ranks have left, by their stems; raises JobError."""
        folder = self._scratch.folder()

        def fetch(key: str) -> Path:
            body = store.get(key)
            if body is None:
                raise JobError(Failure.INTERNAL_ERROR, f"columns for output.expect, {key}, are missing")
            file = folder / key.rpartition("/")[2]
            try:
                file.write_bytes(body)
            except OSError as exc:
                raise scratch.full(exc) or classify(exc, "fetching columns for output.expect") from exc
            return file

        return store.parallel(fetch, [_key(stem, n) for stem, count in counts.items() for n in range(count)])

    def folder(self) -> Path:
        """Return a new empty folder."""
        return self._scratch.folder()

    def remove(self) -> None:
        """Remove everything."""
        self._scratch.remove()

    def _count(self, found: footer.Footer, values: Mapping[str, str | None]) -> None:
        for name in self._counted:
            if name in values:
                count = found.rows if values[name] is None else 0
            else:
                told = [group.chunks[(name,)].nulls for group in found.groups if group.rows]
                if None in told and not found.leaves[(name,)].required:
                    raise JobError(
                        Failure.OUTPUT_LIMIT,
                        f"output.expect: notNull cannot be checked for column {name!r}, because the engine's files do "
                        "not tell how many nulls they have: write an expectation sql with count(column) = count(*)",
                    )
                count = sum(one or 0 for one in told)
            with self._lock:
                self._nulls[name] += count

    @staticmethod
    def _of(folder: Path, path: str) -> Path:
        return folder / path.rpartition("/")[2]  # the names of files are unique in a table

    def _take(self, copy: Path, keys: pl.DataFrame | None) -> Sequence[Path]:
        try:
            made = self._kept(copy, keys)
            if not self._stays:
                copy.unlink()
        except BaseException as exc:  # a panic of Polars is no Exception
            error = scratch.full(exc) or classify(exc, "keeping columns for output.expect")
            self._on_fault(error)
            raise error from exc
        return made

    def _kept(self, copy: Path, keys: pl.DataFrame | None) -> Sequence[Path]:
        lf = pl.scan_parquet(copy, glob=False, hive_partitioning=False)
        if keys is not None:
            # As they are, and not as text: a literal of Python would lose nanoseconds.
            names = [name for name in keys.columns if name in self._columns]
            lf = lf.with_columns(pl.lit(keys[name]).first().alias(name) for name in names)
        made: list[Path] = []
        rows, start = FIRST_ROWS, 0  # rows of the next batch
        folder = self._scratch.folder()
        chosen = lf.select([dtypes.column(name) for name in self._columns])
        while (frame := chosen.slice(start, rows).collect()).height:
            file = folder / f"{len(made):05d}.parquet"
            frame.write_parquet(file, compression="lz4")
            made.append(file)
            start += frame.height
            rows = max(1, BATCH_BYTES * frame.height // max(1, memory(frame)))
        return made


def _key(stem: str, number: int) -> str:
    return f"{stem}.kept-{number:05d}"
