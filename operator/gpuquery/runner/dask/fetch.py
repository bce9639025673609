"""Fetch: brings part files from Dask workers to this process, in pieces, and removes them there.

Workers of one pod, or of one machine, see the same folder, so a file is fetched from the first worker that has it:
their names are different on all workers. Pieces go over the connections that Dask has anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.dask import remote
from gpuquery.runner.dask.client import Cluster
from gpuquery.runner.engines import Writes
from gpuquery.runner.errors import JobError
from gpuquery.runner.sink import scratch

PIECE = 16 << 20
POLL_SECONDS = 1.0


class Fetch:
    """Files of one folder on all workers. `start` to fetch while they are written, then `finish`; or `all`."""

    def __init__(self, cluster: Cluster, folder: str, here: Path, sink: Writes) -> None:
        """`here` takes them until they are in the store."""
        self._cluster, self._folder, self._here, self._sink = cluster, folder, here, sink
        self._fetched: set[str] = set()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to fetch what is whole."""
        self._thread = threading.Thread(target=self._work, name="fetch", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Fetch the rest, now that everything is written, and hand it over."""
        self._done.set()
        if self._thread is not None:
            self._cluster.watch.call("fetching part files", self._thread.join)
        self._cluster.watch.check()
        self._round(unfinished=False, hand_over=True)

    def all(self) -> None:
        """Fetch everything and keep it."""
        self._round(unfinished=False, hand_over=False)

    def _work(self) -> None:
        try:
            while not self._done.wait(POLL_SECONDS):
                self._round(unfinished=True, hand_over=True)
        except BaseException as exc:
            self._cluster.watch.fail(exc)

    def _round(self, *, unfinished: bool, hand_over: bool) -> None:
        for address, files in self._cluster.run(remote.listed, self._folder, seconds=None).items():
            for name in sorted(files.keys() - self._fetched):
                if unfinished and not self._ask(address, remote.whole, name):
                    continue
                self._fetched.add(name)
                file = self._fetch(address, name, int(self._ask(address, remote.size, name)))
                if hand_over:
                    self._sink.add(file)

    def _fetch(self, address: str, name: str, size: int) -> Path:
        file = self._here / name
        got = 0
        try:
            with file.open("wb") as opened:
                while got < size and (data := self._ask(address, remote.piece, name, got, PIECE)):
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
        self._ask(address, remote.removed, name)
        return file

    def _ask(self, address: str, function: Callable[..., Any], name: str, *args: int) -> Any:
        path = str(Path(self._folder, name))
        return self._cluster.run(function, path, *args, workers=[address], seconds=None)[address]
