"""Download: brings part files from Dask workers to this process, in pieces, and removes them there.

Workers of one pod, or of one machine, see the same folder, so a file is downloaded from the first worker that has it:
names are different on all workers. Pieces go over the connections that Dask has anyway.

A worker keeps the name and the size of each file that was downloaded (`injected.fetched`). What all have in the end is
compared with what the sink was given, and the numbers of the files leave none out: no result is committed without all
of its rows.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.engines.dask import injected
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.runner.engines import Writes
    from gpuquery.runner.engines.dask.client import Cluster

PIECE = 16 << 20
POLL_SECONDS = 1.0
_NUMBERED = re.compile(r"(?P<series>part\.(?:\d+\.)?)(?P<number>\d+)\.parquet")
"""The library numbers the files of a rank, or of all (`parts`), from 0 on and leaves no number out."""


class Download:
    """Files of one folder on all workers: `start` to download while they are written, then `finish`; or `all`.

    `check` comes last. All that goes to the sink goes through `add`.
    """

    def __init__(self, cluster: Cluster, folder: str, here: Path, sink: Writes) -> None:
        """`here` takes them until they are in the store."""
        self._cluster, self._folder, self._here, self._sink = cluster, folder, here, sink
        self._given: dict[str, int] = {}
        """Sizes of what the sink has, by name."""
        self._fetched: set[str] = set()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to download what is whole."""
        self._thread = threading.Thread(target=self._work, name="download", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Download the rest, now that everything is written, and hand it over."""
        self._done.set()
        if self._thread is not None:
            self._cluster.guard.call("fetching part files", self._thread.join)
        self._cluster.guard.check()
        self._round(unfinished=False, hand_over=True)

    def all(self) -> None:
        """Download everything and keep it."""
        self._round(unfinished=False, hand_over=False)

    def add(self, file: Path, /) -> None:
        """Give a file to the sink, and remember it."""
        size = file.stat().st_size
        self._sink.add(file)
        self._given[file.name] = size

    def check(self) -> None:
        """Compare what the sink was given with what workers ever had; raises JobError(WorkerLost) for a difference."""
        there: dict[str, int] = {}
        for address, files in self._everywhere(injected.kept):
            twice = {name for name, count in Counter(name for name, _ in files).items() if count > 1}
            again = [name for name, size in files if name in twice or there.setdefault(name, size) != size]
            if again:
                raise self._differs(
                    f"{_few(again)} of the Dask worker {self._cluster.workers[address]} was written more than once"
                )
        given = self._given
        if missing := [name for name, size in there.items() if given.get(name) != size]:
            raise self._differs(f"{len(missing)} of {len(there)} did not come whole ({_few(missing)})")
        if vanished := [name for name in given if name not in there]:
            raise self._differs(f"{_few(vanished)} came, and no worker knows of it any more")
        if gaps := _gaps(list(there)):
            raise self._differs(f"there are later ones than {_few(gaps)}, which no worker has")

    def _differs(self, how: str) -> JobError:
        return JobError(
            Failure.WORKER_LOST,
            f"the part files in {self._folder} of the Dask workers are not those that were written: {how}: somebody "
            "else changes that folder, or its disk loses files",
        )

    def _everywhere(self, function: Callable[..., Any]) -> Sequence[tuple[str, Any]]:
        """Ask every worker about its folder; raises JobError(WorkerLost) where it is gone, or a worker says nothing."""
        results = self._cluster.run(function, self._folder, seconds=None)
        for address, name in self._cluster.workers.items():
            if results.get(address) is None:
                raise self._differs(f"the folder of the worker {name} is gone")
        return list(results.items())

    def _work(self) -> None:
        try:
            while not self._done.wait(POLL_SECONDS):
                self._round(unfinished=True, hand_over=True)
        except BaseException as exc:
            self._cluster.guard.fail(exc)

    def _round(self, *, unfinished: bool, hand_over: bool) -> None:
        for address, files in self._everywhere(injected.listed):
            for name in sorted(files.keys() - self._fetched):
                if unfinished and not self._ask(address, injected.whole, name):
                    continue
                self._fetched.add(name)
                file = self._fetch(address, name, int(self._ask(address, injected.size, name)))
                if hand_over:
                    self.add(file)

    def _fetch(self, address: str, name: str, size: int) -> Path:
        file = self._here / name
        got = 0
        try:
            with file.open("wb") as opened:
                while got < size and (data := self._ask(address, injected.piece, name, got, PIECE)):
                    opened.write(data)
                    got += len(data)
        except OSError as exc:
            raise scratch.full(exc) or JobError(
                Failure.INTERNAL_ERROR, f"cannot write {file}: {exc.strerror or exc}"
            ) from exc
        if got != size:
            raise JobError(
                Failure.WORKER_LOST,
                f"the file {name} of the Dask worker {self._cluster.workers[address]} had {size} bytes and gave {got}: "
                "somebody else changes its folder",
            )
        self._ask(address, injected.fetched, name)
        return file

    def _ask(self, address: str, function: Callable[..., Any], name: str, *args: int) -> Any:
        path = str(Path(self._folder, name))
        return self._cluster.run(function, path, *args, workers=[address], seconds=None)[address]


def _gaps(names: Sequence[str]) -> list[str]:
    """Name files that a later one of their series shows to be missing."""
    numbers: dict[str, dict[int, str]] = {}
    for name in names:
        if found := _NUMBERED.fullmatch(name):
            numbers.setdefault(found["series"], {})[int(found["number"])] = found["number"]
    return [
        f"{series}{number:0{len(known[max(known)])}d}.parquet"
        for series, known in numbers.items()
        for number in range(max(known))
        if number not in known
    ]


def _few(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (" and others" if len(names) > 3 else "")
