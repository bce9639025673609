"""A Dask cluster whose workers are this process, and a sink for what they have written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.engines.dask.client import Cluster
from gpuquery.runner.engines.dask.guard import Guard

if TYPE_CHECKING:
    from pathlib import Path


class Local(Cluster):
    """Workers that are this process: `a` and `b` see the same folder."""

    def __init__(self, folders: dict[str, str]) -> None:
        super().__init__(Guard(hold=0), heartbeat=6)
        self.workers = dict.fromkeys(folders, "worker")
        self._folders = folders

    def run(self, function: Any, *args: Any, workers: Any = None, seconds: Any = None) -> dict[str, Any]:
        found = {}
        for address in workers or self.workers:
            here = [str(arg).replace("@", self._folders[address]) if isinstance(arg, str) else arg for arg in args]
            found[address] = function(*here)
        return found


class Keeps:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.added: dict[str, bytes] = {}

    def write(self, lf: pl.LazyFrame, /) -> None:
        raise AssertionError

    def scratch(self) -> Path:
        raise AssertionError

    def add(self, file: Path, /) -> None:
        assert file.name not in self.added
        self.added[file.name] = file.read_bytes()
        file.unlink()


def written(folder: Path, *names: str) -> dict[str, bytes]:
    """Write part files; returns what is in them."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        pl.DataFrame({"x": range(number * 1000 + 5)}).write_parquet(folder / name)
    return {name: (folder / name).read_bytes() for name in names}
