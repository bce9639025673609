"""Iceberg inputs in the packages of each release: what was resolved becomes frames that GPU engines translate."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import DateType, IntegerType, LongType, NestedField, StringType

from gpuquery.plan import releases
from gpuquery.runner import inputs
from tests.releases import environments
from tests.releases.environments import CUDA, NAMED
from tests.support import iceberg

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.releases

SCHEMA = Schema(NestedField(1, "id", IntegerType()), NestedField(2, "kind", StringType()))
PROBE = """
import json, sys
import polars as pl
from cudf_polars import Translator
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.inputs.base import files_from_json
from gpuquery.runner.inputs.tables.iceberg.reading import Iceberg

given = json.loads(sys.stdin.read())["t"]
frame = Iceberg.from_json(given["reading"]).frame(None, files_from_json(given["files"]), StoreAccess())
translator = Translator(frame._ldf.visit(), pl.GPUEngine(executor="in-memory"))
translator.translate_ir()
rows = sorted(frame.select("id").collect()["id"])
print(json.dumps([[str(error) for error in translator.errors], rows, "pyiceberg" in sys.modules]))
"""


def plain(lake: Any) -> Any:
    table = lake.table(SCHEMA)
    for first in (0, 5):
        ids = range(first, first + 5)
        table.append(pa.table({"id": pa.array(ids, pa.int32()), "kind": [str(n) for n in ids]}))
    return table


def evolved(lake: Any) -> None:
    table = plain(lake)
    with table.update_schema() as change:
        change.rename_column("kind", "sort").update_column("id", LongType()).add_column("day", DateType())
    table.append(pa.table({"id": [10], "sort": ["x"], "day": pa.array([1], pa.date32())}))


def deleted(lake: Any) -> None:
    table = plain(lake)
    keys = pa.table({"id": pa.array([1, 7], pa.int32()), "kind": ["1", "other"]})
    iceberg.add_files(table, [iceberg.equality_deletes(table, keys, {"id": 1, "kind": 2})])


@pytest.mark.parametrize("name", NAMED or releases.names())
@pytest.mark.parametrize(
    ("made", "rows"),
    [
        pytest.param(plain, list(range(10)), id="files as they are"),
        pytest.param(evolved, list(range(11)), id="names and types that have changed"),
        pytest.param(deleted, [0, *range(2, 10)], id="rows deleted by equality"),
    ],
)
def test_a_table_is_translated_for_gpus_without_pyiceberg(
    name: str, made: Callable[[Any], Any], rows: list[int], tmp_path: Path
) -> None:
    with iceberg.served(tmp_path) as lake:
        made(lake)
        text = inputs.to_json({"t": lake.resolve()})
    python = environments.folder(name, CUDA) / "bin" / "python"
    env = {"PYTHONPATH": str(environments.ROOT / "operator"), "PATH": ""}
    done = subprocess.run([python, "-c", PROBE], input=text, capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [[], rows, False]
