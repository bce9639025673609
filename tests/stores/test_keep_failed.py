"""Rows that `output.keepFailed` keeps, in each kind of store, read back from a copy that another client has made."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.output import keep_failed
from tests.support import runner, sinks
from tests.support.seaweed import ACCESS_KEY, SECRET_KEY
from tests.support.store_servers import ACCOUNT_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.lakes import Lake

pytestmark = pytest.mark.s3
ROWS = {"k": ["a/b", "ä", None] * 100, "v": list(range(300))}
SECRETS = (ACCESS_KEY, SECRET_KEY, ACCOUNT_KEY)


def kept(lake: Lake, folder: Path, *, delta: bool, **expect: Any) -> tuple[str, str]:
    """Run a job whose result is not as expected; returns its UID and its message."""
    pq.write_table(pa.table(ROWS), folder / "in.parquet")
    output = {"uri": lake.uri, "partitionBy": ["k"], "expect": [expect], "keepFailed": "7d"}
    made = runner.plan(
        folder, "SELECT k, v FROM t", inputs={"t": f"file://{folder}/in.parquet"},
        output=output | ({"delta": {}} if delta else {}), store=lake.access.model_dump(),
    )  # fmt: skip
    report = runner.run(made)
    assert report.failure is Failure.EXPECTATION_FAILED, report.message
    assert not [secret for secret in SECRETS if secret in report.to_line()]
    return made.job.uid, report.message


@pytest.mark.parametrize("delta", [False, True], ids=["folder", "Delta"])
def test_rows_are_kept_beside_the_table_until_their_time_is_over(
    lake: Lake, tmp_path: Path, delta: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid, message = kept(lake, tmp_path, delta=delta, unique=["k"])
    assert f"; its 300 rows are kept in {lake.uri}/_failed/{uid}/1/ until " in message
    found = lake.contents()
    assert {key.partition("/")[0] for key in found} - {"_staging"} == {"_failed"}
    # A permit that says "void" stays, so that nobody can ever commit those files.
    assert {key.rpartition("/")[2] for key in found if key.startswith("_staging/")} == ({"permit"} if delta else set())
    if lake.kind not in ("az", "abfss"):  # Azure drops blocks by itself, in a week
        assert list(lake.store().dangling()) == []
    for key, body in found.items():
        assert not [secret for secret in SECRETS if secret.encode() in body]
        (tmp_path / "copy" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / key).write_bytes(body)
    place = tmp_path / f"copy/_failed/{uid}/1"
    by_duckdb = duckdb.sql(f"SELECT k, v FROM read_parquet('{place}/**/*.parquet', hive_partitioning=true) ORDER BY v")
    read = ds.dataset(place, partitioning="hive").to_table().sort_by("v")
    assert [*zip(read["k"].to_pylist(), read["v"].to_pylist(), strict=True)] == by_duckdb.fetchall()
    assert {name: read[name].to_pylist() for name in ROWS} == ROWS
    assert sinks.sink(lake.plan()).preflight() is None
    assert lake.contents().keys() >= {key for key in found if key.startswith("_failed/")}, "its time is not over"
    monkeypatch.setattr(keep_failed, "time", SimpleNamespace(time=lambda: time.time() + 8 * 86_400))
    assert sinks.sink(lake.plan()).preflight() is None
    assert not [key for key in lake.contents() if key.startswith("_failed/")]
