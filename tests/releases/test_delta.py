"""Delta tables in the preflight of each release: what its GPU engine reads, and what is refused."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from gpuquery.api.reasons import Failure
from tests.releases import test_preflight
from tests.releases.test_preflight import asked
from tests.support import delta_tables as d

if TYPE_CHECKING:
    from pathlib import Path

    from gpuquery.plan.plan import Plan
    from tests.releases.test_preflight import Pod

pytestmark = pytest.mark.releases
pod = test_preflight.pod
KEYS = {"k1": "string", "k2": "integer", "k3": "date", "k4": "timestamp", "k5": "decimal(10,2)", "k6": "boolean"}
TEXTS = {"k1": "001", "k2": "7", "k3": "2026-01-31", "k4": "2026-01-31T12:00:00Z", "k5": "1.50", "k6": "true"}
FIELDS = [
    *(d.field(name, kind) for name, kind in KEYS.items()),
    d.field("v", "long"),
    d.field("price", "decimal(12,2)"),
]


def query(pod: Pod, folder: Path, text: str) -> Plan:
    given: dict[str, Any] = {"uri": f"file://{folder}", "format": "auto", "hivePartitioned": None, "delta": {}}
    return asked(pod, folder, text, inputs={"t": given})


def old(folder: Path, name: str, values: dict[str, Any], **more: Any) -> Any:
    """A file of the time before columns were widened and added."""
    rows = pa.table({"v": pa.array([1, 2], pa.int32()), "at": [dt.datetime(2026, 1, 1)] * 2})
    return d.add(folder, name, rows, values, **more)


def new(folder: Path, name: str, values: dict[str, Any]) -> Any:
    price = pa.array([Decimal("1.50")], pa.decimal128(5, 2))
    return d.add(folder, name, pa.table({"v": [3], "price": price}), values)


def test_partitions_of_every_type_and_files_that_have_grown_are_read_by_the_gpu_engine(
    pod: Pod, tmp_path: Path
) -> None:
    adds = [old(tmp_path, "a/x.parquet", TEXTS), new(tmp_path, "b/x.parquet", dict.fromkeys(TEXTS))]
    d.commit(tmp_path, 0, d.protocol(), d.metadata(FIELDS, list(KEYS)), *adds)
    text = "select k1, k2, k3, k4, k5, k6, v, price from t where v > 0"
    report = pod.preflight(query(pod, tmp_path, text), tmp_path)
    assert report.failure is None, report.message


def test_columns_that_were_renamed_are_read_by_the_gpu_engine(pod: Pod, tmp_path: Path) -> None:
    add = d.add(tmp_path, "x.parquet", pa.table({"p-v": [1, 2], "p-w": ["x", "y"]}))
    fields = [d.mapped("w", "string", "p-w", 2), d.mapped("v", "long", "p-v", 1)]
    mode = {"delta.columnMapping.mode": "name"}
    d.commit(tmp_path, 0, d.protocol("columnMapping"), d.metadata(fields, **mode), add)
    report = pod.preflight(query(pod, tmp_path, "select w, v from t where v > 1"), tmp_path)
    assert report.failure is None, report.message


def test_deletion_vectors_are_refused_with_the_way_out(pod: Pod, tmp_path: Path) -> None:
    add = d.add(tmp_path, "x.parquet", pa.table({"v": [1, 2]}), deletionVector=d.inline([0]))
    d.commit(tmp_path, 0, d.protocol("deletionVectors"), d.metadata([d.field("v", "long")]), add)
    report = pod.refused(query(pod, tmp_path, "select v from t"), tmp_path)
    assert report.failure is Failure.INVALID_INPUT
    assert "have deletion vectors, which the GPU engines cannot apply" in report.message
    assert "REORG TABLE" in report.message
