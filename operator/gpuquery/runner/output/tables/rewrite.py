"""Files written anew without the rows that `overwriteWhere` replaces, in tables whose metadata names their files.

Rank 0 does it, right before it commits: only then is it known which rows are there. Rows are read and written batch by
batch. The new files are files of the attempt like all others, so whoever removes those removes these.
"""

from __future__ import annotations

import itertools
import secrets
from typing import IO, TYPE_CHECKING, Any, cast

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.api.timing import ABORT_SECONDS
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.output.record import part_name
from gpuquery.runner.output.shape import Shape
from gpuquery.runner.output.upload import Uploads, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars.io.partition import FileProviderArgs

    from gpuquery.runner.output.record import StagedFile
    from gpuquery.runner.output.tables.base import Asked
    from gpuquery.runner.output.upload import Opened
    from gpuquery.runner.stores.base import Store

MOST_BYTES = 64 << 30
"""Bytes of the files that one commit writes anew. Rank 0 reads and writes them alone, while the GPUs wait."""
_AS_WRITTEN = pl.QueryOptFlags(predicate_pushdown=False)
"""Conditions are computed from the values that were read: nothing is skipped by what a footer says."""


def check_size(place: str, size: int, files: int) -> None:
    """Raise OutputLimit if so many bytes are not written anew."""
    if size > MOST_BYTES:
        raise JobError(
            Failure.OUTPUT_LIMIT,
            f"{place} replaces some rows of {files:,} files of {size:,} bytes, which would be written anew, and at "
            f"most {MOST_BYTES:,} bytes are: use a condition over the columns that the table is partitioned or sorted "
            "by, or replace less by each of several jobs",
        )


def counted(frame: pl.LazyFrame, holds: pl.Expr, what: str) -> tuple[int, int]:
    """Return how many rows there are, and how many of them meet a condition. Raises JobError."""
    wanted = frame.select(pl.len().alias("rows"), holds.fill_null(value=False).sum().alias("met"))
    try:
        ((rows, met),) = wanted.collect(engine="streaming").rows()
    except (Exception, pl.exceptions.PanicException) as exc:
        raise classify(exc, what, default=Failure.INVALID_INPUT) from exc
    return rows, met


class Rewriter:
    """Writes the files of one try of a commit."""

    def __init__(self, asked: Asked, store: Store, wanted: Wanted) -> None:
        """`wanted` is what the table wants of its files; they are complete objects."""
        self._asked, self._store = asked, store
        self._shape = Shape(asked.plan.output)
        self._uploads = Uploads(store, stop=asked.stop, wanted=wanted)
        self._numbers, self._token = itertools.count(), secrets.token_hex(4)

    def write(self, frame: pl.LazyFrame, holds: pl.Expr, folder: str, what: str) -> Sequence[Opened]:
        """Write the rows that do not meet a condition into files of a folder. Raises JobError.

        A row for which it is neither true nor false does not meet it.
        """
        opened: list[Opened] = []

        def provide(_: FileProviderArgs) -> IO[bytes]:
            me = self._asked.identity
            name = part_name(me.uid, me.attempt, me.rank, next(self._numbers), self._token)
            try:
                file = self._uploads.begin(folder + name, {})
            except Exception as exc:
                self._uploads.fail(exc)
                raise
            opened.append(file)
            return cast("IO[bytes]", self._uploads.writer(file))

        limits: dict[str, Any] = {**self._shape.limits()}
        target = pl.PartitionBy("", file_path_provider=provide, **limits)
        try:
            frame.filter(~holds.fill_null(value=False)).sink_parquet(
                target, engine="streaming", mkdir=False, optimizations=_AS_WRITTEN, **self._shape.options
            )
            self._uploads.flush(opened)
        except (Exception, pl.exceptions.PanicException) as exc:
            self._uploads.check()
            raise classify(exc, what, default=Failure.INVALID_INPUT) from exc
        return opened

    def finish(self) -> dict[str, StagedFile]:
        """Return all files by their paths, once every byte of them is in the store."""
        staged = {one.path: one for one in self._uploads.finish()}
        self._uploads.close()
        return staged

    def drop(self) -> None:
        """Remove all files, which no commit will need."""
        self._uploads.abandon(self._store, ABORT_SECONDS)
