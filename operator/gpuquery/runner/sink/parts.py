"""Part files that an engine writes: each goes to the sink once it is whole, while the next ones are written."""

from __future__ import annotations

import threading
from pathlib import Path

from gpuquery.runner.engines import Writes

POLL_SECONDS = 0.2


class Parts:
    """Hands over a folder's parquet files in the order of their names.

    An engine writes them one after the other, so a file is whole when a later one is there, or when all are.
    """

    def __init__(self, folder: Path, sink: Writes) -> None:
        self._folder, self._sink = folder, sink
        self._ended = threading.Event()
        self._raised: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="parts", daemon=True)

    def start(self) -> None:
        """Begin, while the engine writes."""
        self._thread.start()

    def finish(self) -> None:
        """Hand over what is left, now that the engine has written all; raises what the sink raised."""
        self._ended.set()
        self._thread.join()
        if self._raised is not None:
            raise self._raised

    def _work(self) -> None:
        try:
            while not self._ended.wait(POLL_SECONDS):
                for file in self._files()[:-1]:
                    self._sink.add(file)
            for file in self._files():
                self._sink.add(file)
        except BaseException as exc:
            self._raised = exc

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.parquet"))
