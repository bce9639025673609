"""Plans and runs of the runner, for tests."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.plan.plan import Plan
from gpuquery.runner import local

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gpuquery.api.report import Progress, Report


def plan(folder: Path | str, query: str, **changes: Any) -> Plan:
    """A plan that writes to `<folder>/out`; `inputs` are `{name: uri}` or `{name: input}`, the rest as in YAML."""
    uri = folder if isinstance(folder, str) else f"file://{folder}"
    document: dict[str, Any] = {
        "job": {"namespace": "default", "name": "job", "uid": str(uuid.uuid4())},
        "attempt": 1,
        "engine": "cpu",
        "cluster": "single",
        "language": "sql",
        "dialect": "duckdb",
        "now": "2026-11-29T12:00:00Z",
        "query": query,
        "output": {"uri": f"{uri}/out"},
        **changes,
    }
    inputs: Mapping[str, Any] = document.pop("inputs", {})
    document["inputs"] = [_input(name, value) for name, value in inputs.items()]
    return Plan.model_validate(document)


def _input(name: str, value: Any) -> dict[str, Any]:
    given = {"uri": value} if isinstance(value, str) else dict(value)
    ending = given["uri"].removesuffix(".gz").rpartition(".")[2]
    format = {"csv": "csv", "ndjson": "ndjson"}.get(ending, "parquet")
    return {"name": name, "format": format, "hivePartitioned": given["uri"].endswith("/"), **given}


def run(wanted: Plan, seen: list[Progress] | None = None) -> Report:
    """Run a plan in this process."""
    return local.run(wanted, on_progress=(seen if seen is not None else []).append)


def result(folder: Path) -> pl.DataFrame:
    """What a plain reader sees of the output."""
    return pl.read_parquet(f"{folder}/out/data/")
