"""Inputs as others have written them, read in pods: what a set shares, what is pinned, and what changes meanwhile."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.e2e import sets
from tests.e2e.jobs import HELD, Bench, condition, fresh, true
from tools.kubectl import KubectlError, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

SAYS_SO = '    print("held", flush=True)\n    while'
HELD_OVER_T = HELD.replace('inputs["nation"]', 'inputs["t"]').replace("    while", SAYS_SO)


def put(bench: Bench, files: Mapping[str, pa.Table | bytes]) -> str:
    """Put parquet files, or bytes, below a folder that no other test uses; returns its URI."""
    folder = f"in/{fresh('t')}"
    for key, content in files.items():
        body = content
        if isinstance(content, pa.Table):
            file = io.BytesIO()
            pq.write_table(content, file)
            body = file.getvalue()
        bench.lake.client().put_object(Bucket="lake", Key=f"{folder}/{key}", Body=body)
    return f"s3://lake/{folder}"


def rows(bench: Bench, name: str) -> list[tuple[Any, ...]]:
    """Return what a job has committed, sorted."""
    keys = [key for key in bench.keys(f"out/{name}/data/") if key.endswith(".parquet")]
    bodies = [bench.lake.client().get_object(Bucket="lake", Key=key)["Body"].read() for key in keys]
    return sorted(tuple(row.values()) for body in bodies for row in pq.read_table(io.BytesIO(body)).to_pylist())


def test_a_set_reads_the_list_that_its_first_rank_has_made(bench: Bench) -> None:
    good = {f"{n}.parquet": pa.table({"v": pa.array([n], pa.int32() if n < 3 else pa.int64())}) for n in range(6)}
    uri = put(bench, {**good, "_temporary/0/a.parquet": pa.table({"v": [100]})})
    inputs = [{"name": "t", "uri": f"{uri}/"}]
    ranks = sets.started(bench, sql="SELECT v FROM t WHERE v <> 1", inputs=inputs)
    job = bench.as_completed(ranks.name)
    assert rows(bench, ranks.name) == [(0,), (2,), (3,), (4,), (5,)]
    (read,) = job["status"]["inputs"]
    assert (read["name"], read["files"]) == ("t", 6)
    (record,) = bench.commits(f"out/{ranks.name}")
    body = json.loads(bench.lake.client().get_object(Bucket="lake", Key=record)["Body"].read())
    assert [(one["digest"], one["bytes"]) for one in body["inputs"]] == [(read["digest"], read["bytes"])]


def test_folders_of_text_keys_are_read_in_a_pod_with_their_null_partition(bench: Bench) -> None:
    folders = {f"zip=0050{n}/a.parquet": pa.table({"v": [n]}) for n in range(3)}
    uri = put(bench, {**folders, "zip=__HIVE_DEFAULT_PARTITION__/a.parquet": pa.table({"v": [9]})})
    name = fresh("keys")
    inputs = [{"name": "t", "uri": f"{uri}/"}]
    bench.completed(bench.job(name, sql="SELECT zip, v FROM t WHERE zip <> '00500'", inputs=inputs))
    assert rows(bench, name) == [("00501", 1), ("00502", 2)]


def test_a_delta_table_is_read_at_the_version_that_was_asked_for_and_without_deleted_rows(bench: Bench) -> None:
    uri = put(bench, {})
    keys = {
        "AWS_ACCESS_KEY_ID": bench.lake.access_key,
        "AWS_SECRET_ACCESS_KEY": bench.lake.secret_key,
        "AWS_ENDPOINT_URL": f"http://{bench.lake.host}",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    deltalake.write_deltalake(uri, pa.table({"k": ["a", "b"], "v": [1, 2]}), storage_options=keys)
    deltalake.DeltaTable(uri, storage_options=keys).delete("v = 1")
    sql = "SELECT k, v FROM t"
    old = bench.job(fresh("old"), sql=sql, inputs=[{"name": "t", "uri": uri, "delta": {"version": 0}}])
    new = bench.job(fresh("new"), sql=sql, inputs=[{"name": "t", "uri": uri, "delta": {}}], preflight="always")
    plain = bench.job(fresh("plain"), sql=sql, inputs=[{"name": "t", "uri": f"{uri}/*.parquet"}])
    bench.apply(old, new, plain)
    for job, want, version in ((old, [("a", 1), ("b", 2)], 0), (new, [("b", 2)], 1)):
        name = job["metadata"]["name"]
        ended = bench.as_completed(name)
        assert rows(bench, name) == want
        assert ended["status"]["inputs"][0]["snapshot"].endswith(f"@{version}")
    failed = bench.how_it_failed(plain["metadata"]["name"])
    assert failed["reason"] == "InvalidInput" and "delta" in failed["message"]


def test_a_broken_file_is_named_and_the_query_is_not_tried_again(bench: Bench) -> None:
    whole = io.BytesIO()
    pq.write_table(pa.table({"v": list(range(1000))}), whole)
    good = {f"{n}.parquet": pa.table({"v": [n]}) for n in range(3)}
    uri = put(bench, {**good, "broken.parquet": whole.getvalue()[:500]})
    document = bench.job(fresh("broken"), sql="SELECT sum(v) AS v FROM t", inputs=[{"name": "t", "uri": f"{uri}/"}])
    failed = bench.failed(document)
    assert failed["reason"] == "InvalidInput" and "broken.parquet" in failed["message"]
    assert len(bench.get(document["metadata"]["name"])["status"]["attempts"]) == 1


def held(bench: Bench, name: str) -> bool:
    """Whether the query of a job runs and waits."""
    with contextlib.suppress(KubectlError):  # there is no log yet
        logs = [bench.cluster.run("logs", "-n", bench.namespace, "-c", "runner", p) for p in bench.alive(name)]
        return any("held" in log for log in logs)
    return False


def test_an_attempt_takes_over_what_the_preflight_has_left_but_for_an_input_of_which_a_file_has_changed(
    bench: Bench,
) -> None:
    uri = put(bench, {"a.parquet": pa.table({"v": [1]}), "b.parquet": pa.table({"v": [2]})})
    name = fresh("handed")
    inputs = [{"name": "t", "uri": f"{uri}/"}]
    bench.apply(bench.job(name, python=HELD_OVER_T, inputs=inputs, preflight="always"))
    wait_until(lambda: held(bench, name), what=f"the preflight of {name}, which has its inputs then")
    file = io.BytesIO()
    pq.write_table(pa.table({"v": [3]}), file)
    key = f"{uri.removeprefix('s3://lake/')}/b.parquet"
    bench.lake.client().put_object(Bucket="lake", Key=key, Body=file.getvalue())
    (checking,) = bench.alive(name)
    bench.cluster.run("exec", checking, "-n", bench.namespace, "-c", "runner", "--", "touch", "/scratch/go-on")
    wait_until(lambda: bench.get(name)["status"].get("attempt") == 1, what=f"the attempt of {name}")
    wait_until(lambda: checking not in bench.alive(name) and held(bench, name), what=f"the query of {name}")
    (attempt,) = bench.alive(name)
    log = bench.cluster.run("logs", "-n", bench.namespace, "-c", "runner", attempt)
    assert 'input "t" is not as the preflight has left it' in log and "b.parquet has changed" in log
    (left,) = [key for key in bench.keys(f"out/{name}/_staging/") if key.endswith("/inputs")]
    bench.go_on(name)
    job = bench.as_completed(name)
    assert rows(bench, name) == [(1,), (3,)]
    assert len(job["status"]["preflight"]["inputsDigest"]) == 64
    assert left not in bench.keys(f"out/{name}/"), "a commit clears away what its job has left"


@pytest.mark.parametrize("how", ["replaced", "deleted"])
def test_a_file_that_changes_while_the_query_runs_is_not_mixed_and_the_next_attempt_reads_it_anew(
    bench: Bench, how: str
) -> None:
    uri = put(bench, {"a.parquet": pa.table({"v": [1]}), "b.parquet": pa.table({"v": [2]})})
    name = fresh("changed")
    bench.apply(bench.job(name, python=HELD_OVER_T, inputs=[{"name": "t", "uri": f"{uri}/"}], backoffLimit=1))
    client, key = bench.lake.client(), f"{uri.removeprefix('s3://lake/')}/b.parquet"
    wait_until(lambda: held(bench, name), what=f"the query of {name}, which has its inputs then")
    if how == "replaced":
        file = io.BytesIO()
        pq.write_table(pa.table({"v": [3]}), file)
        client.put_object(Bucket="lake", Key=key, Body=file.getvalue())
    else:
        client.delete_object(Bucket="lake", Key=key)
    bench.go_on(name)
    bench.go_on(name, attempt=2)
    job = bench.as_completed(name)
    first = job["status"]["attempts"][0]
    assert first["reason"] == "InputChanged" and "b.parquet" in first["message"], first
    assert rows(bench, name) == ([(1,), (3,)] if how == "replaced" else [(1,)])
    assert not condition(job, "Failed") or not true(job, "Failed")
