"""Which calls of functions a release's cudf-polars translates. Runs in the release's environment, without a GPU.

Arguments: the release, and a file with what the tests bound: for each function its calls, as plans over columns whose
types stand beside them. Prints a JSON object: for each function and each call why it cannot be run, or null.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import polars as pl

from gpuquery.runner.query.sql import functions
from gpuquery.runner.query.sql.compile.expression import expression
from gpuquery.runner.query.sql.compile.target import Target
from gpuquery.runner.query.sql.compile.values import Value, dtype_of
from gpuquery.runner.query.sql.errors import SqlError

GPU_BYTES = 80 << 30


def main() -> None:
    """Translate every call."""
    for row in functions.ROWS:  # what the table says is asked, not taken for granted
        object.__setattr__(row, "lacks", frozenset())
    release, asked = sys.argv[1], pickle.loads(Path(sys.argv[2]).read_bytes())
    found = {name: {text: problem(release, *plan) for text, plan in calls.items()} for name, calls in asked.items()}
    print(json.dumps(found))


def problem(release: str, node: Any, columns: dict[str, Any]) -> str | None:
    """Return why a call cannot run on GPUs of a release."""
    scope = [Value(pl.col(name), kind) for name, kind in columns.items()]
    held = {name: dtype_of(kind) for name, kind in columns.items()} or {"one": pl.Int64()}
    try:
        made = expression(node, scope, Target(release))
        frame = pl.LazyFrame(schema=held).select(pl.all(), made.expr.alias("made"))
        return translated(release, frame)
    except SqlError as refused:
        return f"refused: {refused.message}"
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def translated(release: str, frame: pl.LazyFrame) -> str | None:
    """Return the first thing that cudf-polars has against a query."""
    from cudf_polars import Translator

    sized: dict[str, Any] = {"target_partition_size": 2 << 30, "broadcast_join_limit": 2}
    if tuple(int(part) for part in release.split(".")) >= (26, 6):
        sized = {"min_device_size": GPU_BYTES}
    engine = pl.GPUEngine(executor="streaming", executor_options=sized, raise_on_fail=True)
    translator = Translator(frame._ldf.visit(), engine)
    try:
        translator.translate_ir()
    except NotImplementedError as error:
        return str(error).splitlines()[0][:200]
    errors = [str(error).splitlines()[0][:200] for error in translator.errors]
    return errors[0] if errors else None


if __name__ == "__main__":
    main()
