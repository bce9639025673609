"""Part files: takes what an engine's library writes into a folder, file by file, while it still writes.

cudf-polars gives no sign when a part is whole: each rank writes `part.<rank>.<number>.parquet` (`part.<number>.parquet`
with one rank) one after the other, straight under its final name (`cudf_polars/streaming/actor_graph/io.py`, 26.06 to
26.10). So a file counts as whole when it ends as a parquet file ends and the library has begun the next of its series,
or is done.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Protocol

from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POLL_SECONDS = 0.2
"""A part takes the GPU a second or so, and the standard library has no inotify."""
_NAME = re.compile(r"(?P<series>.*?)(?P<number>\d+)\.parquet")


class Adds(Protocol):
    """The part of the sink that takes files."""

    def add(self, file: Path, /) -> None:
        """Stage the rows of a whole file, and remove it."""
        ...


class Parts:
    """The part files of one folder. `start` before the library writes, `finish` when it is done."""

    def __init__(self, folder: Path, sink: Adds, *, on_fault: Callable[[BaseException], None] | None = None) -> None:
        """`on_fault` gets the first fault of `add` at once, from the watching thread.

        The sink itself tells its own faults at once too; the library's caller can end it then.
        """
        self._folder = folder
        self._sink = sink
        self._on_fault = on_fault
        self._done = threading.Event()
        self._added: set[str] = set()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name="parts", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def finish(self) -> None:
        """Take what is left, now that the library writes no more; raises the first fault."""
        self.stop()
        if self._fault is not None:
            raise self._fault
        for file in self._files():
            self._add(file)

    def stop(self) -> None:
        """Stop watching and take nothing more: what the library has left is worth nothing."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def added(self) -> int:
        """How many files were given to the sink."""
        return len(self._added)

    def _watch(self) -> None:
        try:
            while not self._done.wait(POLL_SECONDS):
                for file in self._whole():
                    if self._done.is_set():
                        return
                    self._add(file)
        except BaseException as exc:
            self._fault = exc
            if self._on_fault is not None:
                self._on_fault(exc)

    def _whole(self) -> Iterator[Path]:
        """Files that the library has done with, in the order of their numbers."""
        latest: dict[str, int] = {}
        numbered: list[tuple[int, str, Path]] = []
        for file in self._files():
            if found := _NAME.fullmatch(file.name):
                series, number = found["series"], int(found["number"])
                latest[series] = max(number, latest.get(series, 0))
                numbered.append((number, series, file))
        for number, series, file in sorted(numbered):
            if number < latest[series] and _ends_well(file):
                yield file

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():  # the library makes it
            return []
        return sorted(file for file in self._folder.glob("*.parquet") if file.name not in self._added)

    def _add(self, file: Path) -> None:
        self._added.add(file.name)
        self._sink.add(file)


def _ends_well(file: Path) -> bool:
    try:
        spool.rows(file)
    except (JobError, OSError):
        return False
    return True
