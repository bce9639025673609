"""Jobs over Delta tables: pinned versions, contracts, ranks that read alike, and what GPU engines refuse."""

import pyarrow as pa
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import autopsy
from gpuquery.runner.query import fingerprint
from tests.support import delta_tables as d
from tests.support.runner import plan, result, run

FIELDS = [d.field("k", "string"), d.field("v", "long")]
QUERY = "SELECT k, sum(v) AS v FROM t GROUP BY k ORDER BY k"


@pytest.fixture
def lake(tmp_path):
    """A table of two partitions and two versions; the second deletes a row and adds a file."""
    path = tmp_path / "lake"
    rows = {"001": [1, 2, 3], "1": [10, 20]}
    adds = [d.add(path, f"k={key}/x.parquet", pa.table({"v": values}), {"k": key}) for key, values in rows.items()]
    d.commit(path, 0, d.protocol("deletionVectors"), d.metadata(FIELDS, ["k"]), *adds)
    d.commit(
        path, 1, d.remove("k=001/x.parquet"),
        d.add(path, "k=001/x.parquet", None, {"k": "001"}, deletionVector=d.inline([1])),
        d.add(path, "k=null/y.parquet", pa.table({"v": [5]}), {"k": None}),
    )  # fmt: skip
    return path


def item(path, **more):
    return {"uri": f"file://{path}", "format": "auto", "hivePartitioned": None, "delta": {}} | more


def job(path, folder, query=QUERY, snapshots=None, **more):
    return plan(folder, query, inputs={"t": item(path, **more)}, snapshots=snapshots or {})


def of(path, **more):
    given = Input.model_validate({"name": "t"} | {k: v for k, v in item(path, **more).items() if v is not None})
    return inputs.resolve([given], StoreAccess()), given


def test_a_job_reads_the_newest_version_and_says_which(lake, tmp_path):
    report = run(job(lake, tmp_path))
    assert report.failure is None, report.message
    assert result(tmp_path).rows() == [("001", 4), ("1", 30), (None, 5)]


def test_a_retried_attempt_reads_the_version_of_the_first_though_the_table_has_moved_on(lake, tmp_path):
    report = run(job(lake, tmp_path, snapshots={"t": f"delta:{d.ID}@0"}))
    assert report.failure is None, report.message
    assert sorted(result(tmp_path).rows()) == [("001", 6), ("1", 30)]


def test_a_contract_holds_for_a_table_as_for_files(lake, tmp_path):
    right = {"columns": {"k": {"type": "String"}, "v": {"type": "Int64", "nullable": False}}}
    assert run(job(lake, tmp_path, schema=right)).failure is None
    wrong = {"columns": {"k": {"type": "Int64"}, "w": {"type": "Int64"}}}
    report = run(job(lake, tmp_path / "other", schema=wrong))
    assert report.failure is Failure.SCHEMA_MISMATCH
    assert '"w"' in report.message
    never = {"columns": {"k": {"type": "String", "nullable": False}}}
    report = run(job(lake, tmp_path / "third", schema=never))
    assert report.failure is Failure.SCHEMA_MISMATCH
    assert '"k"' in report.message


def test_every_rank_makes_the_same_plan_of_the_json(lake):
    resolved, given = of(lake)
    text = inputs.to_json(resolved)
    plans = [inputs.frames(inputs.from_json(text, [given]), StoreAccess())["t"] for _ in range(2)]
    assert fingerprint.fingerprint(plans[0]) == fingerprint.fingerprint(plans[1])
    assert inputs.from_json(text, [given])["t"].digest == resolved["t"].digest
    assert resolved["t"].told().snapshot == f"delta:{d.ID}@1"


def test_gpu_engines_refuse_deletion_vectors_and_read_the_version_before(lake):
    resolved, _ = of(lake)
    with pytest.raises(JobError, match=r"1 of its files have deletion vectors.*REORG TABLE.*or use engine: cpu"):
        inputs.for_gpu(resolved)
    before, _ = of(lake, delta={"version": 0})
    inputs.for_gpu(before)


def test_a_refusal_of_the_table_is_the_jobs_failure(lake, tmp_path):
    (lake / "k=1" / "x.parquet").unlink()
    report = run(job(lake, tmp_path))
    assert report.failure is Failure.INVALID_INPUT
    assert f'input "t": Delta table file://{lake}: version 1 needs a file that is gone' in report.message


def test_a_file_that_breaks_while_it_is_read_is_named(lake, tmp_path):
    file = lake / "k=1" / "x.parquet"
    body = bytearray(file.read_bytes())
    body[4:60] = b"\xff" * 56  # the pages; the footer stays
    file.write_bytes(body)
    report = run(job(lake, tmp_path))
    assert report.failure is not None
    assert "k=1/x.parquet" in report.message


def test_after_a_crash_the_version_that_the_job_has_read_is_looked_into(tmp_path):
    """A file of a younger version has ended nothing."""
    path = tmp_path / "lake"
    good, broken = (d.add(path, f"{name}.parquet", pa.table({"v": [1]})) for name in ("good", "broken"))
    d.commit(path, 0, d.protocol(), d.metadata([d.field("v", "long")]), good)
    wanted = job(path, tmp_path, "SELECT v FROM t")
    pin = inputs.resolve(wanted.inputs, StoreAccess())["t"].snapshot
    d.commit(path, 1, broken)
    page = (path / "broken.parquet").read_bytes()
    (path / "broken.parquet").write_bytes(page[:4] + b"\xff" * 26 + page[30:])
    assert "broken.parquet" in autopsy.told(wanted).get("message", "")
    assert autopsy.told(wanted.model_copy(update={"snapshots": {"t": pin}})) == {}
