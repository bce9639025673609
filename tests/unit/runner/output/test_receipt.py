"""The receipt beside a commit."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from gpuquery.api.claims import read as believed
from gpuquery.api.output import Output
from gpuquery.api.receipt import MAX_RECEIPT_BYTES, Receipt
from gpuquery.api.status import OutputStatus
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.output import receipt as receipts
from gpuquery.runner.query import queries
from tests.support.runner import plan, run

if TYPE_CHECKING:
    from pathlib import Path

    from gpuquery.plan.plan import Plan


def left(folder: Path, made: Plan) -> Any:
    return json.loads((folder / f"out/_receipts/{made.job.uid}.json").read_text())


def test_it_says_what_was_run_over_what_and_what_came_of_it(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,y\n")
    inputs = {"t": f"file://{tmp_path}/t.csv"}
    made = plan(tmp_path, "SELECT a, :n AS n FROM t", inputs=inputs, parameters={"n": {"integer": 7}})
    report = run(made)
    assert report.committed and report.receipt, report.message
    told = left(tmp_path, made)
    assert told["job"]["uid"] == made.job.uid and told["version"] == 1 and told["rows"] == 2
    assert told["query"]["text"] == hashlib.sha256(made.query.encode()).hexdigest()
    assert told["parameters"] == {"n": "integer 7"}
    (one,) = told["inputs"]
    assert (one["name"], one["files"], one["bytes"]) == ("t", 1, 12) and len(one["digest"]) == 64
    assert told["engine"] == "cpu" and set(told["software"]) == {"gpuquery", "polars", "duckdb"}
    assert told["output"]["mode"] == "errorIfExists" and told["output"]["compression"] == "zstd"
    assert set(told["seconds"]) == {"planning", "running", "committing"}
    whole = Receipt.model_validate(told)
    assert report.receipt.key == whole.key and report.receipt.query == whole.query.sha256


def test_its_counts_are_those_of_the_files_and_its_seconds_those_of_a_clock(tmp_path: Path) -> None:
    began = time.monotonic()
    made = plan(
        tmp_path, "SELECT range AS a, range % 3 AS k FROM range(1000)",
        output={"uri": f"file://{tmp_path}/out", "partitionBy": ["k"], "expect": [{"rows": ">= 1"}]},
    )  # fmt: skip
    report = run(made)
    took = time.monotonic() - began
    assert report.committed, report.message
    told = left(tmp_path, made)
    files = list((tmp_path / "out/data").rglob("*.parquet"))
    assert told["files"] == len(files) and told["bytes"] == sum(file.stat().st_size for file in files)
    assert told["rows"] == sum(pq.read_metadata(file).num_rows for file in files) == 1000
    assert told["partitions"] == len({file.parent for file in files}) == 3
    assert told["expectations"] == "1 hold: rows >= 1 (1,000)"
    assert 0 < sum(told["seconds"].values()) <= took


def test_a_long_parameter_is_told_apart_by_its_digest_and_a_credential_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-7")
    text = "x" * 60_000
    parameters = {"p": {"string": text}, "q": {"string": "planted-secret-7"}}
    made = plan(tmp_path, "SELECT :p AS p, :q AS q", parameters=parameters)
    assert run(made).committed
    told = left(tmp_path, made)["parameters"]
    assert "60,007 characters" in told["p"] and len(told["p"]) < 300
    assert "planted" not in json.dumps(left(tmp_path, made))


def test_python_is_known_by_its_text_and_the_kind_of_its_line_ends_does_not_count(tmp_path: Path) -> None:
    source = "import polars as pl\ndef query(inputs, params):\n    return pl.LazyFrame({'a': [1]})\n"
    found = []
    for number, text in enumerate((source, source.replace("\n", "\r\n"), source + "# more\n")):
        made = plan(tmp_path / str(number), text, language="python")
        assert run(made).committed
        found.append(left(tmp_path / str(number), made)["query"]["sha256"])
    assert found[0] == found[1] != found[2]


def test_a_store_that_takes_no_receipt_costs_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(receipts, "draft", broken)
    report = run(plan(tmp_path, "SELECT 1 AS a"))
    assert report.committed and report.receipt is None


def died_before_its_receipt(folder: Path, **changes: Any) -> tuple[Plan, Any]:
    """The plan of the attempt after one that has committed and left no receipt, and what that one had left."""
    (folder / "t.csv").write_text("a,b\n1,x\n2,y\n")
    inputs = {"t": f"file://{folder}/t.csv"}
    made = plan(folder, "SELECT a, :n AS n FROM t", inputs=inputs, parameters={"n": {"integer": 7}}, **changes)
    assert run(made).committed
    whole = left(folder, made)
    (folder / f"out/_receipts/{made.job.uid}.json").unlink()
    return made.model_copy(update={"attempt": 2}), whole


@pytest.mark.parametrize("delta", [False, True])
def test_an_attempt_that_finds_the_commit_writes_the_receipt_that_is_missing(tmp_path: Path, delta: bool) -> None:
    where = {"uri": f"file://{tmp_path}/out", **({"delta": {}} if delta else {})}
    second, whole = died_before_its_receipt(tmp_path, output=where)
    report = run(second)
    assert report.committed and report.receipt and report.receipt.query == whole["query"]["sha256"]
    assert report.receipt.key is None, "it is not certain what was read"
    told = left(tmp_path, second)
    same = ("job", "query", "parameters", "engine", "software", "output", "uri", "version", "rows", "bytes", "files")
    assert {name: told.get(name) for name in same} == {name: whole.get(name) for name in same}
    assert "seconds" not in told and "attempt" not in told and "attempt 2 wrote this receipt" in told["warnings"][0]
    (then,), (now,) = whole["inputs"], told["inputs"]
    known = ("name", "place", "reading") if delta else ("name", "place", "reading", "files", "bytes")
    assert {name: then[name] for name in known} == {name: now[name] for name in known}
    assert now.get("digest", "") == ("" if delta else then["digest"][:16])


def test_it_is_never_reused_and_another_one_is_not_written(tmp_path: Path) -> None:
    second, _ = died_before_its_receipt(tmp_path, output={"uri": f"file://{tmp_path}/out", "mode": "overwrite"})
    assert run(second).committed
    before = left(tmp_path, second)
    third = run(second.model_copy(update={"attempt": 3}))
    assert third.receipt and third.receipt.key is None and left(tmp_path, second) == before
    other = second.model_dump() | {"reuse": {"max_age": "1h"}, "job": {**second.job.model_dump(), "uid": "u2"}}
    report = run(type(second).model_validate(other))
    assert report.committed and report.committed.version == 2 and report.reuse
    assert report.reuse.differs.startswith("its receipt does not tell all")


def test_a_receipt_that_is_there_stays_and_one_of_another_query_does_not(tmp_path: Path) -> None:
    second, whole = died_before_its_receipt(tmp_path)
    there = tmp_path / f"out/_receipts/{second.job.uid}.json"
    there.write_text(json.dumps(whole))
    report = run(second)
    assert left(tmp_path, second) == whole
    assert report.receipt and report.receipt.key == Receipt.model_validate(whole).key
    assert report.receipt.committing == whole["seconds"]["committing"]
    there.write_text(json.dumps({**whole, "query": {"language": "sql", "sha256": "0" * 64, "text": "0" * 64}}))
    assert run(second).committed
    assert left(tmp_path, second)["query"] == whole["query"]


def test_the_last_digits_of_sums_of_floats_are_told(tmp_path: Path) -> None:
    made = plan(tmp_path, "SELECT sum(x) AS x FROM (VALUES (1.5::DOUBLE), (2.5)) AS v(x)")
    assert run(made).committed
    assert "sum adds floating-point numbers in any order" in left(tmp_path, made)["varies"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (None, "is not there"),
        (b"", "is no receipt"),
        (b"{}", "is no receipt"),
        (b" " * (MAX_RECEIPT_BYTES + 1), "the longest receipt"),
        (b'{"format": 2}', "is no receipt"),
    ],
)
def test_a_receipt_that_no_runner_writes_is_none_and_it_is_said_why(
    tmp_path: Path, body: bytes | None, why: str
) -> None:
    place = stores.locate(f"file://{tmp_path}/out")
    store, _ = stores.of("file://").table(place, StoreAccess(), staging="_staging/u1/1", stop=threading.Event())
    if body is not None:
        store.put("_receipts/u1.json", body)
    found = receipts.read(store, "u1")
    assert isinstance(found, str) and why in found


@pytest.mark.parametrize(("way", "want"), [("attach", 0.0), ("operator", 8.0)])
def test_gpus_of_somebody_elses_cluster_were_asked_of_nobody(way: str, want: float) -> None:
    dask = {"way": way, "workers": 4, "scheduler": "tcp://s:8786"}
    made = plan("s3://lake", "SELECT 1 AS a", dask=dask)
    committed = OutputStatus(uri="s3://lake/out/data/", version=1, files=1, rows=2, bytes=3, partitions=0)
    draft = receipts.draft(made, queries.prepare(made), {})
    found = receipts.filled(draft, committed, {"running": 2.0}, asked=receipts.asked(made))
    assert (found.gpus, found.gpu_seconds["running"]) == (4, want)


def test_a_commit_to_an_iceberg_table_is_a_snapshot_of_a_name() -> None:
    output = Output.model_validate({"table": {"catalog": "lake", "name": "sales.orders"}})
    made = plan("s3://lake", "SELECT 1 AS a", output=output.model_dump(mode="json", exclude_none=True))
    committed = OutputStatus(uri=output.published, snapshot="42", files=1, rows=2, bytes=3, partitions=0)
    found = receipts.filled(receipts.draft(made, queries.prepare(made), {}), committed, {})
    assert (found.uri, found.snapshot, found.version, found.rows) == ("lake: sales.orders", "42", 0, 2)
    assert "sales.orders" in found.output["table"]


def test_what_the_processes_did_is_left_out_where_it_is_too_much() -> None:
    base = {"job": {"namespace": "a", "name": "b", "uid": "c"}, "query": {"language": "sql", "sha256": "0" * 64}}
    large = Receipt.model_validate({**base, "processes": [{"x": "y" * 1000}] * 5000})
    body = receipts.to_json(large)
    assert len(body) < 1000 and Receipt.model_validate_json(body).processes == ()


@pytest.mark.parametrize("claim", [{"key": "no"}, {"committing": -1}, {"query": "0" * 65}])
def test_a_claim_of_a_receipt_that_cannot_be_is_not_believed(claim: dict[str, Any]) -> None:
    assert "receipt" in believed(json.dumps({"message": "", "receipt": claim, "done": True})).wrong
