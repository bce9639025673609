"""What a preflight leaves for the attempts on a real S3 server, counted in requests."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.plan.plan import Purpose
from gpuquery.runner import engines
from tests.support.runner import plan, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.engines import Writes
    from tests.support.faultproxy import FaultProxy
    from tests.support.seaweed import Seaweed

pytestmark = pytest.mark.s3
FILES = 12
QUERY = "SELECT p.k, sum(p.v) AS v FROM p JOIN c ON p.k = c.k GROUP BY p.k"
NEVER_NULL = {"schema": {"columns": {"k": {"type": "Int64", "nullable": False}}}}


class Reads:
    """An engine that reads no input, so that every request for one belongs to the planning."""

    name = "reads nothing"

    def join(self, *_: object) -> None:
        """Nobody is there."""

    def run(self, frame: pl.LazyFrame, sink: Writes) -> None:
        sink.write(pl.LazyFrame(schema=frame.collect_schema()))


@pytest.fixture
def job(seaweed: Seaweed, bucket: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """Makes plans over 12 parquet files and 12 CSV files, behind a proxy that counts."""
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(engines, "find", lambda name: Reads())
    client = seaweed.client()
    for number in range(FILES):
        body = io.BytesIO()
        pq.write_table(pa.table({"k": list(range(100)), "v": [number] * 100}), body)
        client.put_object(Bucket=bucket, Key=f"in/{number:02d}.parquet", Body=body.getvalue())
        client.put_object(Bucket=bucket, Key=f"in/{number:02d}.csv", Body=b"k,w\n1,2\n")
    inputs: Mapping[str, Any] = {
        "p": {"uri": f"s3://{bucket}/in/*.parquet", **NEVER_NULL}, "c": f"s3://{bucket}/in/*.csv",
    }  # fmt: skip
    store = {"endpoint": proxy.endpoint, "region": "us-east-1", "pathStyle": True}

    def make(**changes: Any) -> Plan:
        return plan(f"s3://{bucket}", QUERY, **{"store": store, "inputs": inputs, **changes})

    return make


def contents(proxy: FaultProxy) -> int:
    """Requests for the content of inputs since the last call."""
    found = proxy.count("GET", r"/in/\d+\.(parquet|csv)")
    proxy.requests.clear()
    return found


def test_an_attempt_after_a_preflight_lists_and_reads_no_footer_and_no_text_again(
    seaweed: Seaweed, bucket: str, job: Callable[..., Plan], proxy: FaultProxy
) -> None:
    wanted = job()
    checked = run(wanted.model_copy(update={"purpose": Purpose.PREFLIGHT, "leaves_inputs": True}))
    assert checked.preflight and checked.preflight.inputs_digest, checked.message
    assert seaweed.keys(bucket, "out/") == [f"out/_staging/{wanted.job.uid}/inputs"]
    assert contents(proxy) >= 3 * FILES, "footers for the schema, the nulls and the planner, and the texts"
    after = run(wanted.model_copy(update={"inputs_digest": checked.preflight.inputs_digest}))
    assert after.committed, after.message
    assert after.inputs == checked.inputs
    lists = proxy.count("GET", r"list-type=2.*prefix=in")
    assert contents(proxy) == 0 and 2 <= lists <= 4, "each input is listed, to see whether a file has changed"
    assert seaweed.keys(bucket, "out/_staging/") == [], "a job that has committed leaves nothing"


def test_a_job_without_a_preflight_of_its_own_writes_and_asks_for_nothing_more(
    job: Callable[..., Plan], proxy: FaultProxy
) -> None:
    wanted = job()
    assert run(wanted).committed
    writes = [r.target.partition("?")[0] for r in proxy.requests if r.method in ("PUT", "POST", "DELETE")]
    assert not [target for target in writes if target.endswith("/inputs")]
    asked = [r.target for r in proxy.requests if re.search(r"_staging/[^/]+/inputs", r.target)]
    assert asked == []
    assert proxy.count("GET", "prefix=out%2F_staging") == 1, "the staged are listed once, after the commit"
