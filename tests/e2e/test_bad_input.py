"""Every kind of bad input: who refuses it, with which reason, and what the message names."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.e2e.jobs import Begun, Bench, condition, fresh, tpch
from tools.kubectl import KubectlError

SELECT = "SELECT n_name FROM nation"
PYTHON = "def query(inputs, params):\n    "

WRONG: list[Any] = [
    pytest.param({"sql": "SELEC n_name FROM nation"}, "InvalidQuery", ["line 1"], id="SQL that does not parse"),
    pytest.param({"sql": "SELECT * FROM planet"}, "InvalidQuery", ["planet", "nation"], id="an unknown table"),
    pytest.param({"sql": "SELECT n_nam FROM nation"}, None, ["n_nam", "n_name", "line 1"], id="an unknown column"),
    pytest.param({"sql": "SELECT 1; SELECT 2"}, "InvalidQuery", ["one SELECT"], id="two statements"),
    pytest.param({"sql": "DROP TABLE nation"}, "InvalidQuery", ["SELECT"], id="DDL"),
    pytest.param(
        {"sql": "SELECT * FROM read_parquet('s3://x/y')"}, "InvalidQuery", ["read_parquet"], id="a file function"
    ),
    pytest.param({"sql": SELECT + " WHERE n_name = :who"}, "InvalidQuery", ["who"], id="an unbound parameter"),
    pytest.param(
        {"sql": SELECT, "parameters": {"who": {"string": "x"}}}, "InvalidQuery", ["who"], id="an unused parameter"
    ),
    pytest.param(
        {"sql": SELECT + " WHERE n_name > :who", "parameters": {"who": {"timestamp": "1994-02-31T12:00:00"}}},
        "InvalidQuery",
        ["who", "1994-02-31"],
        id="a parameter that is no moment",
    ),
    pytest.param(
        {"python": PYTHON + "raise ValueError('mine')"}, "UserError", ["line 2", "mine"], id="Python that raises"
    ),
    pytest.param({"python": PYTHON + "return 7"}, "UserError", ["LazyFrame"], id="Python without a LazyFrame"),
    pytest.param(
        {"python": PYTHON + "return inputs['nation'].sink_parquet('/tmp/x')"},
        "UserError",
        ["sink"],
        id="Python that sinks",
    ),
    pytest.param(
        {"sql": "SELECT a FROM t", "inputs": [{"name": "t", "uri": "s3://lake/nothing/*.parquet"}]},
        "InvalidInput",
        ["nothing"],
        id="a glob without files",
    ),
    pytest.param(
        {"sql": SELECT, "output": {"partitionBy": ["colour"]}}, None, ["colour", "n_name"], id="an unknown partition"
    ),
    pytest.param(
        {"sql": SELECT, "storage": {"secretName": "wrong-credentials"}}, "StorageAuth", [], id="wrong credentials"
    ),
    pytest.param(
        {"sql": SELECT, "output": {"uri": "s3://no-such-bucket/x"}},
        "BucketNotFound",
        ["no-such-bucket"],
        id="no bucket",
    ),
    pytest.param(
        {"sql": SELECT, "storage": {"endpoint": "http://127.0.0.1:9"}, "backoffLimit": 0},
        "StorageUnavailable",
        ["127.0.0.1:9"],
        id="an endpoint that nobody answers",
    ),
]


@pytest.fixture(scope="module")
def wrong_secret(together: Bench) -> None:
    data = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "planted-secret-value"}
    metadata = {"name": "wrong-credentials"}
    together.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})


def seconds(pod: dict[str, Any]) -> float:
    """Return how long the runner of a pod that has ended ran."""
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    began, finished = (datetime.fromisoformat(ended[moment]) for moment in ("startedAt", "finishedAt"))
    return (finished - began).total_seconds()


@pytest.mark.begins(inputs=tpch("nation"))
@pytest.mark.parametrize(("spec", "reason", "words"), WRONG)
def test_bad_input_fails_once_and_says_why(
    wrong_secret: None, begun: Begun, spec: dict[str, Any], reason: str | None, words: list[str]
) -> None:
    bench, name = begun.bench, begun.name
    failed = begun.failed()
    assert failed["reason"] in ({reason} if reason else {"InvalidQuery", "UserError"}), failed
    for word in words:
        assert word in failed["message"], failed["message"]
    assert "planted-secret-value" not in str(bench.get(name))
    assert len(bench.get(name)["status"]["attempts"]) == 1, "no retry"
    # The operator deletes the pod where Kubernetes takes long to see its end.
    assert all(seconds(pod) < 60 for pod in bench.pods(name))
    assert not bench.commits(f"out/{name}")
    assert bench.keys(f"out/{name}/data/") == []


def test_an_existing_output_is_named_before_the_query_runs(bench: Bench) -> None:
    name = fresh("exists")
    bench.completed(bench.job(name, sql=SELECT, inputs=tpch("nation")))
    output = {"uri": f"s3://lake/out/{name}"}
    failed = bench.failed(bench.job(f"{name}-2", sql=SELECT, inputs=tpch("nation"), output=output))
    assert failed["reason"] == "OutputExists"
    assert "version 1" in failed["message"]


def test_clashing_schemas_name_the_files(bench: Bench) -> None:
    import io

    import polars as pl

    name = fresh("clash")
    for file, frame in (("a", pl.DataFrame({"x": [1]})), ("b", pl.DataFrame({"x": ["one"]}))):
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        bench.lake.client().put_object(Bucket="lake", Key=f"in/{name}/{file}.parquet", Body=buffer.getvalue())
    inputs = [{"name": "t", "uri": f"s3://lake/in/{name}/*.parquet"}]
    failed = bench.failed(bench.job(name, sql="SELECT x FROM t", inputs=inputs))
    assert failed["reason"] == "InvalidInput"
    assert "a.parquet" in failed["message"] and "b.parquet" in failed["message"], failed["message"]


NESTED = PYTHON + "import polars as pl; return inputs['nation'].select('n_name', k=pl.concat_list('n_nationkey'))"


@pytest.mark.begins(python=NESTED, inputs=tpch("nation"), output={"partitionBy": ["k"]})
def test_a_nested_partition_column_is_refused_before_the_query_runs(begun: Begun) -> None:
    failed = begun.failed()
    assert failed["reason"] == "UserError"
    assert "k" in failed["message"] and "List" in failed["message"]


REFUSED: list[Any] = [
    pytest.param({"sql": SELECT, "python": "x"}, "exactly one of", id="two queries"),
    pytest.param({"sql": SELECT, "engine": "warp"}, "spec.engine", id="an unknown engine"),
    pytest.param({"sql": SELECT, "runtime": {"release": "27.02"}}, '"27.02".*"26.10"', id="an unknown release"),
    pytest.param(
        {"sql": SELECT, "scheduler": "synchronous", "cluster": "single"},
        "remove scheduler",
        id="two names of a cluster",
    ),
    pytest.param({"sql": SELECT, "engine": "cpu", "cluster": "distributed"}, 'cluster "single"', id="cpu on many"),
    pytest.param({"sql": SELECT, "engine": "cpu", "workers": {"gpus": 2}}, "workers.gpus is 2", id="cpu with GPUs"),
    pytest.param({"sql": SELECT, "engine": "cpu", "workers": {"replicas": 2}}, "replicas is 2", id="cpu in two pods"),
    pytest.param(
        {"sql": SELECT, "engine": "cpu", "executorOptions": {"fallback_mode": "raise"}}, "remove them", id="cpu options"
    ),
    pytest.param({"sql": SELECT, "cluster": "single", "workers": {"gpus": 8}}, "workers.gpus is 8", id="one on many"),
    pytest.param({"sql": SELECT, "engine": "tasks", "workers": {"gpus": 0}}, "need GPUs", id="a GPU engine without"),
    pytest.param(
        {"sql": SELECT, "engine": "tasks", "runtime": {"release": "26.10"}},
        'from 25.08 to 26.04, not 26.10: use engine "rapidsmpf"',
        id="tasks on a release without it",
    ),
    pytest.param(
        {"sql": SELECT, "engine": "rapidsmpf", "runtime": {"release": "25.12"}},
        'from 26.04 to 26.10, not 25.12: use engine "tasks"',
        id="rapidsmpf on a release that cannot write",
    ),
    pytest.param(
        {"sql": SELECT, "template": {"spec": {"env": [{"name": "AWS_REGION", "value": "x"}]}}}, "storage", id="AWS_*"
    ),
    pytest.param({"sql": SELECT, "backoffLimit": -1}, "spec.backoffLimit", id="a negative bound"),
    pytest.param({"sql": SELECT, "backofLimit": 1}, "backofLimit", id="a typo in a field name"),
    pytest.param({"sql": "x" * 262145}, "262144", id="a query that is too long"),
    pytest.param(
        {"sql": SELECT, "output": {"uri": "s3://lake/tpch"}}, "inside the output", id="an input in the output"
    ),
]


def on(release: str, engine: str = "auto", **spec: Any) -> dict[str, Any]:
    """A job for an image that is never pulled, because the job is refused before."""
    return {"sql": SELECT, "engine": engine, "runtime": {"image": "never:pulled", "release": release}, **spec}


def said(name: str, value: str) -> dict[str, Any]:
    return {"spec": {"env": [{"name": f"CUDF_POLARS__EXECUTOR__{name}", "value": value}]}}


UNACCEPTED: list[Any] = [
    pytest.param(
        on("26.10", executorOptions={"falback_mode": "raise"}),
        ["executorOptions.falback_mode", "did you mean fallback_mode"],
        id="a misspelt option",
    ),
    pytest.param(
        on("26.10", executorOptions={"target_partition_size": "much"}),
        ["executorOptions.target_partition_size", '"much"', "1.5GB"],
        id="a size that is none",
    ),
    pytest.param(
        on("26.10", executorOptions={"groupby_n_ary": 4}),
        ["executorOptions.groupby_n_ary", "26.10", "26.04"],
        id="an option of other releases",
    ),
    pytest.param(
        on("26.04", "rapidsmpf", executorOptions={"shuffle_method": "tasks"}),
        ["executorOptions.shuffle_method", "engine tasks"],
        id="shuffle by tasks with rapidsmpf",
    ),
    pytest.param(
        on("26.04", "tasks", cluster="distributed", executorOptions={"sink_to_directory": False}),
        ["executorOptions.sink_to_directory", "cluster single"],
        id="many ranks into one file",
    ),
    pytest.param(
        on("26.04", "tasks", cluster="single", executorOptions={"rapidsmpf_spill": True}),
        ["executorOptions.rapidsmpf_spill", "distributed"],
        id="spilling between ranks with one",
    ),
    pytest.param(
        on("26.04", executorOptions={"scheduler": "synchronous"}),
        ["executorOptions.scheduler", "spec.cluster"],
        id="the cluster as an option",
    ),
    pytest.param(
        on("26.10", template=said("RUNTIME", "tasks")),
        ["CUDF_POLARS__EXECUTOR__RUNTIME", "26.10", '"26.04"', '"rapidsmpf"'],
        id="an engine in the template that the release has not",
    ),
    pytest.param(
        on("26.04", template=said("MAX_ROWS_PER_PARTITION", "many")),
        ["CUDF_POLARS__EXECUTOR__MAX_ROWS_PER_PARTITION", '"many"'],
        id="a number in the template that is none",
    ),
    pytest.param(
        on("26.10", workers={"gpus": 1, "resources": {"limits": {"nvidia.com/gpu": "1"}}}),
        ["nvidia.com/gpu", "workers.gpus"],
        id="GPUs as a resource",
    ),
]


@pytest.mark.begins(inputs=tpch("nation"))
@pytest.mark.parametrize(("spec", "words"), UNACCEPTED)
def test_the_operator_refuses_what_depends_on_the_release_before_any_pod(
    begun: Begun, spec: dict[str, Any], words: list[str]
) -> None:
    failed = begun.failed()
    accepted = condition(begun.bench.get(begun.name), "Accepted")
    assert accepted is not None and (accepted["status"], accepted["reason"]) == ("False", "InvalidCombination")
    assert failed["reason"] == "InvalidCombination" and failed["message"] == accepted["message"]
    for word in words:
        assert word in failed["message"], failed["message"]
    assert begun.bench.pods(begun.name) == []


def test_a_bad_default_of_the_namespace_is_told_in_its_jobs(elsewhere: Bench) -> None:
    elsewhere.cluster.run("annotate", "namespace", elsewhere.namespace, "gpuquery.io/default-engine=fast")
    failed = elsewhere.failed(elsewhere.job("a", sql=SELECT, inputs=tpch("nation")))
    assert failed["reason"] == "InvalidCombination"
    for word in ("gpuquery.io/default-engine", '"fast"', "tasks", "rapidsmpf", "spec.engine"):
        assert word in failed["message"], failed["message"]


@pytest.mark.begins(sql=SELECT, inputs=tpch("nation"), scheduler="synchronous")
def test_the_historic_name_of_the_cluster_is_taken_with_a_warning(begun: Begun) -> None:
    job = begun.completed()
    assert job["status"]["plan"]["cluster"] == "single"
    accepted = condition(job, "Accepted")
    assert accepted is not None and "cluster: single" in accepted["message"]
    warned = [message for reason, message in begun.bench.events(begun.name) if reason == "Deprecated"]
    assert len(warned) == 1 and "cluster: single" in warned[0]


@pytest.mark.parametrize(("spec", "words"), REFUSED)
def test_the_api_server_refuses_what_it_can_see(bench: Bench, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(KubectlError, match=words):
        bench.cluster.apply(
            bench.job(fresh("refused"), **{"inputs": tpch("nation"), **spec}), namespace=bench.namespace
        )


def test_the_spec_is_immutable_but_for_its_deadlines(bench: Bench) -> None:
    name = fresh("immutable")
    bench.completed(bench.job(name, sql=SELECT, inputs=tpch("nation")))
    with pytest.raises(KubectlError, match="immutable"):
        bench.apply(bench.job(name, sql="SELECT 1 AS one", inputs=tpch("nation")))
    bench.apply(bench.job(name, sql=SELECT, inputs=tpch("nation"), ttlSecondsAfterFinished=86400))


AWKWARD = """
import polars as pl

def query(inputs, params):
    values = ["a/b", "a=b", "a b", "100%", "it's", 'say "x"', "\\U0001f680", None, "plain"]
    return pl.LazyFrame({"k": values, "n": list(range(len(values)))})
"""


@pytest.mark.begins(python=AWKWARD, output={"partitionBy": ["k"]})
def test_awkward_partition_values_come_back(begun: Begun) -> None:
    import polars as pl

    uri = begun.completed()["spec"]["output"]["uri"]
    options = begun.bench.lake.options()
    got = pl.read_parquet(f"{uri}/data/**/*.parquet", hive_partitioning=True, storage_options=options)
    want = ["a/b", "a=b", "a b", "100%", "it's", 'say "x"', "\U0001f680", None, "plain"]
    assert got.sort("n")["k"].to_list() == want


def test_a_job_that_is_not_accepted_says_so_in_its_first_condition(bench: Bench) -> None:
    ref = {"name": "nowhere", "key": "q.sql"}
    job = bench.job(fresh("missing"), configMapKeyRef=ref, inputs=tpch("nation"), startDeadlineSeconds=5)
    failed = bench.failed(job)
    assert "nowhere" in failed["message"]
    accepted = condition(bench.get(job["metadata"]["name"]), "Accepted")
    assert accepted is not None and accepted["status"] == "False"
    assert bench.pods(job["metadata"]["name"]) == []
