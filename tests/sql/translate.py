"""Which queries of a benchmark the cudf-polars of one RAPIDS release translates. Runs in that release's environment.

    PYTHONPATH=operator:. python -m tests.sql.translate FILE RELEASE

FILE is JSON with `queries` (texts by number) and `tables` (files by name). One line of JSON for each query: `refused`
(why, or nothing) and `one` (the parts that run on one partition on two ranks). No GPU is needed and none is used. Files
count as a thousand times as large as they are, so that tables have as many partitions as real ones.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.preflight import translate
from gpuquery.runner.query.sql.compile.target import Target
from gpuquery.runner.query.sql.prepare import Prepared
from tests.support.runner import plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOW = dt.datetime(2026, 11, 29, tzinfo=dt.UTC)
ENGINES = {"26.04": "tasks"}
"""The engine that runs several GPUs, where it is not rapidsmpf."""
ENLARGED = 1000


def main() -> None:
    """Answer for every query."""
    path, release = sys.argv[1:]
    asked = json.loads(Path(path).read_text())
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    for number, text in asked["queries"].items():
        print(json.dumps({"number": int(number), **judged(text, asked["tables"], release)}), file=answers)


def judged(text: str, tables: Mapping[str, str], release: str) -> dict[str, Any]:
    """Return what the release makes of a query."""
    used = {name: path for name, path in tables.items() if name in text.lower()}
    wanted = plan(
        "file:///nowhere", text, engine=ENGINES.get(release, "rapidsmpf"), cluster="distributed", release=release,
        replicas=2, gpus=1, inputs={name: f"file://{path}" for name, path in used.items()},
    )  # fmt: skip
    try:
        prepared = Prepared(text, dialect="duckdb", inputs=list(used), values={})
        frames = {name: pl.scan_parquet(path) for name, path in used.items()}
        made = prepared.plan(frames, now=NOW, target=Target(release, distributed=True))
        found = translate.check(wanted, made.frame, sizes)
    except JobError as error:
        return {"refused": error.message, "one": []}
    unchecked = "; ".join(found.unchecked)
    return {"refused": unchecked, "one": list(found.fallbacks)}


def sizes(paths: Sequence[str]) -> int:
    """Return the bytes of files, as if they were so much larger."""
    return sum(Path(path.removeprefix("file://")).stat().st_size for path in paths) * ENLARGED


if __name__ == "__main__":
    main()
