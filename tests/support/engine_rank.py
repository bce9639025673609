"""One rank of a query, in a release's packages, for `ranks.py`: joins, and runs the plan if it is told to.

    engine_rank.py INDEX SIZE PORT PLAN SCRATCH [own] [run]

With `own` it is GpuQuery's engine, else what is found by its entry point. Prints one JSON line at each step: that it
has joined, which files it added, or how it failed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import polars as pl

from gpuquery.plan.plan import Plan
from gpuquery.runner import engines, inputs
from gpuquery.runner.engines.rapidsmpf import RapidsmpfEngine
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query import queries
from tests.support.gates import GateClient


class Sink:
    """Takes files into a folder beside the scratch."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kept = folder / "scratch", folder / "kept"
        self.folder.mkdir(parents=True)
        self.kept.mkdir()
        self.added: list[list[Any]] = []

    def write(self, lf: pl.LazyFrame, /) -> None:
        raise AssertionError("an engine with files of its own")

    def scratch(self) -> Path:
        return self.folder

    def add(self, file: Path, /) -> None:
        self.added.append([file.name, pl.read_parquet(file).height])
        file.rename(self.kept / file.name)


def main() -> None:
    """Join, run, and end at once: threads of the libraries may be in the middle of something."""
    index, size, port = (int(text) for text in sys.argv[1:4])
    plan = Plan.model_validate_json(Path(sys.argv[4]).read_text())

    def say(**said: Any) -> None:
        print(json.dumps(said), flush=True)

    try:
        ranks = GateClient(index, size, port)
        engine = RapidsmpfEngine() if "own" in sys.argv[6:] else engines.find(plan.engine)
        engine.join(plan, ranks)
        say(joined=index, engine=type(engine).__name__)
        if "run" in sys.argv[6:]:
            sink = Sink(Path(sys.argv[5]) / str(index))
            frames = inputs.frames(inputs.resolve(plan.inputs, plan.store), plan.store)
            engine.run(queries.prepare(plan).plan(frames).frame, sink)
            say(added=sink.added)
        ranks.gate("done", None, seconds=60)
    except JobError as error:
        say(failure=error.failure.value, message=error.message)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
