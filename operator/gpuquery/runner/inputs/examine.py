"""Reads the files of inputs one by one and says which cannot be read: `python -m gpuquery.runner.inputs.examine`.

A process of its own, for what native code does with a broken file may end it. The task is on standard input
(`explain.lookup.Task`), what it finds goes to standard output, one JSON object a line: `at` before something is read,
`broken` for each file that cannot be, `looked` at the end. The cheapest look comes first: the schemas of all files, the
places of their row groups, then the values of the columns that the query reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.api.spec import Input, InputFormat
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.inputs import faults, listing
from gpuquery.runner.inputs.resolve import from_json, resolver
from gpuquery.runner.parquet import layout
from gpuquery.runner.stores.base import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuquery.runner.inputs.base import File, Resolved

THREADS = 16
MAX_FOUND = 5
MORE_SECONDS = 3.0
"""How long others are looked for once one file was found."""


@dataclass(frozen=True)
class _Task:
    access: StoreAccess
    resolved: Mapping[str, Resolved] | None
    columns: Mapping[str, Sequence[str]] | None
    decode: bool
    one_by_one: bool


class _BrokenError(Exception):
    """A file cannot be read."""

    def __init__(self, reason: str, *, group: int | None = None, column: str = "", complete: bool = False) -> None:
        super().__init__(reason)
        self.facts = {"reason": reason, "group": group, "column": column, "complete": complete}


class Examination:
    """One look at inputs."""

    def __init__(self, task: _Task, seconds: float, out: int) -> None:
        self._task = task
        self._out = out
        self._until = time.monotonic() + seconds
        self._found = 0
        self._files = 0

    def run(self, items: Sequence[Input]) -> None:
        """Look at inputs in this order; those behind the first one with a broken file are not looked at."""
        over = True
        for item in items:
            over = self._look(item) and over
            if self._found:
                break
        self._say(kind="looked", files=self._files, over=over)

    def _look(self, item: Input) -> bool:
        """Look at one input; returns whether all of its files were looked at."""
        files = self._files_of(item)
        broken: set[str] = set()
        for file, error in self._opened(item, files):
            if error is not None:
                broken.add(file.uri)
                self._tell(item, file, error)
        if self._enough():
            return not self._late()
        if not self._task.decode:
            self._files += len(files)
            return not self._late()
        for file in files:
            if self._enough():
                return False
            if file.uri not in broken:
                self._files += 1
                try:
                    self._decode(item, file)
                except _BrokenError as error:
                    self._tell(item, file, error)
        return True

    def _files_of(self, item: Input) -> Sequence[File]:
        if self._task.resolved is not None:
            return self._task.resolved[item.name].files
        self._say(kind="at", input=item.name)
        return listing.listed(item, self._task.access).files

    # Schemas.

    def _opened(self, item: Input, files: Sequence[File]) -> Iterator[tuple[File, _BrokenError | None]]:
        """Open all files, several at a time."""
        if self._task.one_by_one:
            for file in files:
                if self._enough():
                    return
                self._say(kind="at", input=item.name, file=file.uri)
                yield file, self._opening(item, file)
            return
        self._say(kind="at", input=item.name)
        with ThreadPoolExecutor(THREADS, "examine") as pool:
            begun = [(file, pool.submit(self._opening, item, file)) for file in files]
            for file, one in begun:
                yield file, one.result()
                if self._enough():
                    pool.shutdown(wait=False, cancel_futures=True)
                    return

    def _opening(self, item: Input, file: File) -> _BrokenError | None:
        try:
            with self._told(item, file):
                if self._task.resolved is None:
                    resolver(item)(item, (file,), self._task.access)
                elif _is_parquet(item):
                    self._scan(file).collect_schema()
                if not _is_parquet(item) and (like := self._like(item, file)):
                    raise _BrokenError(like)  # almost any text is CSV
        except _BrokenError as error:
            return error
        return None

    # Values.

    def _decode(self, item: Input, file: File) -> None:
        """Read the values of a file; raises _BrokenError."""
        self._say(kind="at", input=item.name, file=file.uri)
        groups = self._groups(item, file)
        with self._told(item, file):
            frame = self._frame(item, file)
            wanted = self._wanted(item, frame)
        if not _is_parquet(item):
            with self._told(item, file):
                frame.select(pl.col(wanted).null_count()).collect(engine="streaming")
            return
        start = 0
        for number, rows in enumerate(groups or [0]):
            group = number if groups else None
            if self._late():
                return
            self._say(kind="at", input=item.name, file=file.uri, group=group)
            part = frame.slice(start, rows) if len(groups) > 1 else frame
            start += rows
            try:
                part.select(wanted).collect(engine="streaming")
            except (Exception, pl.exceptions.PanicException) as exc:
                column = next((name for name in wanted if self._fails(part.select(name))), "")
                reason = self._like(item, file) or first_paragraph(exc)
                raise _BrokenError(reason, group=group, column=column) from None

    def _frame(self, item: Input, file: File) -> pl.LazyFrame:
        if self._task.resolved is not None:
            reading = self._task.resolved[item.name].reading
            if reading.kind in ("parquet", "csv", "ndjson"):
                return reading.frame(item, (file,), self._task.access)
            return self._scan(file)  # a file of a table, without what the table's log says of it
        return resolver(item)(item, (file,), self._task.access).frame(item, (file,), self._task.access)

    def _scan(self, file: File) -> pl.LazyFrame:
        return pl.scan_parquet(
            [stores.of(file.uri).address(file.uri)], glob=False, hive_partitioning=False,
            **stores.scan_arguments(self._task.access, file.uri),
        )  # fmt: skip

    def _wanted(self, item: Input, frame: pl.LazyFrame) -> list[str]:
        names = frame.collect_schema().names()
        columns = self._task.columns
        if columns is None or item.name not in columns:
            return names
        # A reading may rename columns: then all are looked at.
        return [name for name in names if name in set(columns[item.name])] or names

    def _groups(self, item: Input, file: File) -> list[int]:
        """Rows of the row groups of a parquet file; raises _BrokenError if one of them is not within the file."""
        if not _is_parquet(item):
            return []
        try:
            size = stores.files(file.uri, self._task.access).sizes([file.uri])[file.uri]
            read = stores.files(file.uri, self._task.access).read
            groups = layout.of(size, lambda start, end: read([Part(file.uri, start, end)], lambda _, data: data)[0])
        except (JobError, ValueError):
            return []  # it is read as a whole
        for number, group in enumerate(groups):
            if beyond := next(((name, end) for name, end in group.ends.items() if end > size), None):
                reason = f"its bytes end at {beyond[1]:,}, and the file has {size:,} bytes"
                raise _BrokenError(reason, group=number, column=beyond[0])
        return [group.rows for group in groups]

    @staticmethod
    def _fails(frame: pl.LazyFrame) -> bool:
        try:
            frame.collect(engine="streaming")
        except (Exception, pl.exceptions.PanicException):
            return True
        return False

    # What is said.

    @contextlib.contextmanager
    def _told(self, item: Input, file: File) -> Iterator[None]:
        try:
            yield
        except _BrokenError:
            raise
        except JobError as error:
            if like := self._like(item, file):
                raise _BrokenError(like) from None
            raise _BrokenError(error.message, complete=error.message.startswith("input ")) from None
        except (Exception, pl.exceptions.PanicException) as exc:
            raise _BrokenError(self._like(item, file) or first_paragraph(exc)) from None

    def _like(self, item: Input, file: File) -> str:
        """Say what a file looks like that is not of its format; empty if its first bytes do not tell."""
        with contextlib.suppress(Exception):
            files = stores.files(file.uri, self._task.access)
            size = files.sizes([file.uri])[file.uri]
            if size == 0:
                return "the file is empty (0 bytes)"
            head = files.read([Part(file.uri, 0, min(size, faults.SHOWN))], lambda _, data: data)[0]
            return faults.like(head, file.uri, item.format.value)
        return ""

    def _tell(self, item: Input, file: File, error: _BrokenError) -> None:
        if not self._found:
            self._until = min(self._until, time.monotonic() + MORE_SECONDS)
        self._found += 1
        self._say(kind="broken", file={"input": item.name, "file": file.uri, **error.facts})

    def _say(self, **told: Any) -> None:
        os.write(self._out, json.dumps(told).encode() + b"\n")

    def _late(self) -> bool:
        return time.monotonic() > self._until

    def _enough(self) -> bool:
        return self._found >= MAX_FOUND or self._late()


def _is_parquet(item: Input) -> bool:
    """Whether its files are parquet files, as those of tables are."""
    return item.format is InputFormat.PARQUET or item.table is not None or item.delta is not None


def perform(given: Mapping[str, Any], out: int) -> None:
    """Do a task, as `explain.lookup.Task` writes it; what is found goes to the descriptor."""
    items = [Input.model_validate(one) for one in given["items"]]
    resolved = None if given["resolved"] is None else from_json(given["resolved"], items)
    access = StoreAccess.model_validate(given["access"])
    for one in (resolved or {}).values():
        one.reading.unlock(one.item, access)
    task = _Task(access, resolved, given["columns"], bool(given["decode"]), bool(given["oneByOne"]))
    Examination(task, float(given["seconds"]), out).run(items)


def main() -> None:
    """Do the task of standard input."""
    given = json.load(sys.stdin)
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    perform(given, out)
    os._exit(0)  # threads of Polars may still be busy


if __name__ == "__main__":
    main()
