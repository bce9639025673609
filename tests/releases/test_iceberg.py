"""Iceberg inputs in the packages of each release: what was resolved becomes frames that GPU engines translate."""

from __future__ import annotations

import io
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import DateType, IntegerType, LongType, NestedField, StringType

from gpuquery.plan import releases
from gpuquery.runner import inputs
from tests.releases import environments
from tests.releases.environments import CUDA, NAMED
from tests.support import iceberg
from tests.support.seaweed import ACCESS_KEY, REGION, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.seaweed import Seaweed

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

VENDED = """
import json, sys, warnings
import polars as pl
from cudf_polars import Translator
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.stores import vended

warnings.simplefilter("error")
uri, told = json.loads(sys.stdin.read())
vended.register([uri.rpartition("/")[0]], vended.Lease("table t", lambda: vended.Vended(told)))
frame = pl.scan_parquet([uri], glob=False, **stores.scan_arguments(StoreAccess(), uri))
translator = Translator(frame._ldf.visit(), pl.GPUEngine(executor="in-memory"))
translator.translate_ir()
shown = told["s3.secret-access-key"] in str(frame._ldf.visit().view_current_node().scan_type)
print(json.dumps([[str(error) for error in translator.errors], frame.collect()["n"].to_list(), shown]))
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
    assert probed(name, PROBE, text) == [[], rows, False]


@pytest.mark.parametrize("name", NAMED or releases.names())
def test_a_table_that_is_read_with_vended_keys_is_translated_for_gpus_and_the_plan_has_none(
    name: str, seaweed: Seaweed
) -> None:
    bucket, file = seaweed.make_bucket(), io.BytesIO()
    pq.write_table(pa.table({"n": [1, 2]}), file)
    seaweed.client().put_object(Bucket=bucket, Key="t/a.parquet", Body=file.getvalue())
    told = {
        "s3.access-key-id": ACCESS_KEY, "s3.secret-access-key": SECRET_KEY, "s3.endpoint": seaweed.endpoint,
        "client.region": REGION, "s3.path-style-access": "true",
    }  # fmt: skip
    assert probed(name, VENDED, json.dumps([f"s3://{bucket}/t/a.parquet", told])) == [[], [1, 2], False]


def probed(name: str, program: str, given: str) -> Any:
    """Run a program in the packages of a release; returns what it has printed."""
    python = environments.folder(name, CUDA) / "bin" / "python"
    env = {"PYTHONPATH": str(environments.ROOT / "operator"), "PATH": ""}
    done = subprocess.run([python, "-c", program], input=given, capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])
