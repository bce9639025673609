"""`gpuquery plan`: whose code it runs, by whose defaults it plans, and that it says no where the cluster does."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gpuquery.api.labels import DEFAULTS_CONFIG_MAP
from gpuquery.cli import cluster as clusters
from gpuquery.cli import main
from tests.support.fake_kubectl import CREATED, POST, FakeCluster, cluster, store
from tests.support.job_tables import job

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["cluster", "store"]


def write(folder: Path, *documents: Any) -> str:
    (folder / "job.yaml").write_text(yaml.safe_dump_all(documents))
    return str(folder / "job.yaml")


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (found,) = json.loads(capsys.readouterr().out)
    return dict(found)


CODE = """
open("ran", "w")

def query(inputs, params):
    return inputs["nation"]
"""
PYTHON = job(query={"python": CODE}, engine="cpu")


def test_plan_runs_no_python_of_a_job_and_says_what_was_not_checked(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", write(store, PYTHON), "--no-cluster"]) == 0
    out = capsys.readouterr().out
    assert not (store / "ran").exists()
    assert re.search(r"^  read      nation: 1 file, [\d,]+ bytes, digest [0-9a-f]{16}$", out, re.M)
    assert "was not run" in out and "--run-code" in out and "sizes are not known" in out
    assert main(["plan", write(store, PYTHON), "--no-cluster", "--json"]) == 0
    assert "was not run" in told(capsys)["unchecked"][0]
    assert not (store / "ran").exists()


@pytest.mark.parametrize(
    ("engine", "keys", "told"),
    [
        pytest.param("rapidsmpf", ["k"], ", partitioned on the CPU from the GPU engine's files", id="a GPU's"),
        pytest.param("rapidsmpf", [], "", id="no partitions"),
        pytest.param("cpu", ["k"], "", id="no GPU"),
    ],
)
def test_plan_says_who_makes_the_partitions_of_a_result(
    engine: str, keys: list[str], told: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = {"sql": "SELECT n_name, n_name AS k FROM nation"}
    wanted = job(engine=engine, query=query, output={"uri": "s3://lake/out/x", "partitionBy": keys})
    assert main(["plan", write(store, wanted), "--no-cluster"]) == 0
    assert f"  write     folder s3://lake/out/x, mode errorIfExists{told}\n" in capsys.readouterr().out


def test_plan_shows_the_expectations_and_refuses_what_the_result_cannot_meet(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = job(
        output={"uri": "s3://lake/out/x", "expect": [{"rows": ">= 1"}, {"sql": "SELECT  count(*) > 0\nFROM result"}]}
    )
    assert main(["plan", write(store, wanted), "--no-cluster"]) == 0
    out = capsys.readouterr().out
    assert "  expect    rows >= 1\n  expect    sql SELECT count(*) > 0 FROM result\n" in out
    assert main(["plan", write(store, wanted), "--no-cluster", "--json"]) == 0
    assert told(capsys)["expect"] == ["rows >= 1", "sql SELECT count(*) > 0 FROM result"]
    wrong = job(output={"uri": "s3://lake/out/x", "expect": [{"sql": "SELECT count(*) FROM result"}]})
    assert main(["plan", write(store, wrong), "--no-cluster"]) == 1
    assert "output.expect[0].sql: it returns BIGINT" in capsys.readouterr().err
    wrong = job(output={"uri": "s3://lake/out/x", "expect": [{"sql": "SELECT count(* FROM result"}]})
    assert main(["validate", write(store, wrong)]) == 2
    assert "output.expect[0].sql: line 1, column 16" in capsys.readouterr().err


def test_plan_still_checks_the_inputs_and_the_output_of_a_python_query(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = {"name": "nation", "uri": "s3://lake/x.parquet", "schema": {"columns": {"n_name": {"type": "Date"}}}}
    assert (
        main(["plan", write(store, {**PYTHON, "spec": {**PYTHON["spec"], "inputs": [contract]}}), "--no-cluster"]) == 1
    )
    assert "SchemaMismatch" in capsys.readouterr().err
    assert not (store / "ran").exists()


def test_plan_runs_the_python_of_a_job_where_it_is_told_to(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", write(store, PYTHON), "--no-cluster", "--run-code", "--json"]) == 0
    assert (store / "ran").exists()
    found = told(capsys)
    assert found["preflight"]["rows"] == 1 and "unchecked" not in found


@pytest.mark.parametrize("word", ["read_parquet('data/a.parquet')", "read_csv('/etc/passwd')", "scan_parquet('x')"])
def test_no_function_of_a_query_reads_what_the_job_does_not_declare(
    store: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert main(["plan", write(store, job(query={"sql": f"SELECT * FROM {word}"})), "--no-cluster"]) == 1
    assert "InvalidQuery" in capsys.readouterr().err


def test_help_says_what_is_run_and_with_whose_rights(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "It runs a job's Python only with --run-code" in words
    assert "with the credentials of its environment" in words and "asks that cluster" in words


def test_a_plan_goes_by_the_defaults_of_the_cluster(
    store: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.publishes(runtime_image_pattern="rt:{release}", default_engine="tasks", default_release="26.04")
    assert main(["plan", write(store, job(preflight="never")), "--json"]) == 0
    found = told(capsys)
    assert (found["plan"]["engine"], found["plan"]["release"]) == ("tasks", "26.04")
    assert found["defaults"] == {
        "cluster": True,
        "source": "of context test: ConfigMap kube-public/gpuquery-defaults, annotations of namespace lake",
    }


def test_annotations_of_the_namespace_win_over_the_operator_s_defaults(
    store: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.publishes(runtime_image_pattern="rt:{release}", default_engine="cpu", default_release="26.04")
    cluster.tells("/api/v1/namespaces/lake", {"metadata": {"annotations": {"gpuquery.io/default-engine": "tasks"}}})
    assert main(["plan", write(store, job(preflight="never")), "--json"]) == 0
    assert told(capsys)["plan"]["engine"] == "tasks"


def test_an_operator_of_the_job_s_own_namespace_is_asked_first(
    store: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.publishes(default_engine="cpu")
    cluster.publishes("mine", runtime_image_pattern="rt:{release}", default_engine="tasks", default_release="26.04")
    cluster.tells(POST.format("mine"), CREATED)
    cluster.tells("/api/v1/namespaces/mine", {"metadata": {}})
    document = job()
    document["metadata"]["namespace"] = "mine"
    assert main(["plan", write(store, document), "--json"]) == 0
    found = told(capsys)
    assert found["plan"]["engine"] == "tasks" and "mine/gpuquery-defaults" in found["defaults"]["source"]


def test_a_gpu_job_is_refused_where_the_cluster_has_no_image(
    store: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.publishes()
    assert main(["plan", write(store, job(engine="rapidsmpf"))]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "InvalidCombination" in err and "image" in err
    assert main(["plan", write(store, job(engine="rapidsmpf")), "--no-cluster"]) == 0
    assert "supposed" in capsys.readouterr().out


REFUSALS = [
    pytest.param(
        "", "The gpuqueryjobs \"x\" is invalid: : ValidatingAdmissionPolicy 'images' denied request: no", id="a policy"
    ),
    pytest.param(
        "", 'The GpuQueryJob "x" is invalid: \n* spec.engine: Unsupported value\n* spec.output: Required', id="a schema"
    ),
    pytest.param("(BadRequest): ", 'strict decoding error: unknown field "spec.x"', id="a field that it does not know"),
    pytest.param("(Forbidden): ", 'gpuqueryjobs "table-job" is forbidden: exceeded quota: jobs', id="a quota"),
    pytest.param("(NotFound): ", 'namespaces "lake" not found', id="a namespace that is not there"),
]


@pytest.mark.parametrize(("reason", "words"), REFUSALS)
def test_what_the_api_server_refuses_is_refused(
    store: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str], reason: str, words: str
) -> None:
    """In kubectl's own words, which has its own for what is invalid."""
    cluster.publishes()
    cluster.tells(POST.format("lake"), f"Error from server {reason}{words}" if reason else words)
    assert main(["plan", write(store, job())]) == 2
    assert f"context test refuses it: {' '.join(words.split())}" in capsys.readouterr().err


def test_the_api_server_is_asked_to_judge_and_to_store_nothing(store: Path, cluster: FakeCluster) -> None:
    cluster.publishes()
    document = {**job(), "status": {"state": "Complete"}}
    document["metadata"]["resourceVersion"] = "5"
    assert main(["plan", write(store, document)]) == 0
    ((words, sent),) = [(words, sent) for words, sent in cluster.calls() if words[0] == "create"]
    assert "dryRun=All" in words[1]
    assert json.loads(sent) == {**job(), "metadata": {"name": "table-job", "namespace": "lake"}}
    assert [words[0] for words, _ in cluster.calls()].count("create") == 1


NOTES = [
    pytest.param(
        'Error from server (Forbidden): gpuqueryjobs.gpuquery.io is forbidden: User "ci" cannot create resource '
        '"gpuqueryjobs" in API group "gpuquery.io" in the namespace "lake"',
        "was not asked whether it accepts the job",
        id="whoever plans may not be the one who applies",
    ),
    pytest.param(
        'Error from server (AlreadyExists): gpuqueryjobs.gpuquery.io "table-job" already exists',
        "has a job of this name already",
        id="a job of that name is there",
    ),
    pytest.param(
        "Error from server (NotFound): the server could not find the requested resource",
        "was not asked whether it accepts the job",
        id="the cluster has no such kind",
    ),
    pytest.param("Unable to connect to the server: EOF", "was not asked", id="the API server goes away"),
]


@pytest.mark.parametrize(("answer", "note"), NOTES)
def test_what_could_not_be_asked_is_told_and_refuses_nothing(
    store: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str], answer: str, note: str
) -> None:
    cluster.publishes()
    cluster.tells(POST.format("lake"), answer)
    assert main(["plan", write(store, job())]) == 0
    assert note in capsys.readouterr().out


UNKNOWN = [
    pytest.param(None, "it has no ConfigMap gpuquery-defaults in lake or kube-public", id="it publishes none"),
    pytest.param(
        'Error from server (Forbidden): configmaps "gpuquery-defaults" is forbidden: User "ci" cannot get',
        'User "ci" cannot get',
        id="they may not be read",
    ),
    pytest.param("Unable to connect to the server: dial tcp: refused", "dial tcp: refused", id="it does not answer"),
    pytest.param({"data": {"GPUQUERY_GPU_MEMORY": "much"}}, "does not fit this gpuquery: gpu_memory", id="a newer one"),
]


@pytest.mark.parametrize(("answer", "why"), UNKNOWN)
def test_a_cluster_that_does_not_tell_its_defaults_has_them_supposed_and_says_so(
    store: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str], answer: Any, why: str
) -> None:
    if answer is not None:
        cluster.tells(f"/api/v1/namespaces/kube-public/configmaps/{DEFAULTS_CONFIG_MAP}", answer)
    assert main(["plan", write(store, job())]) == 0
    out = capsys.readouterr().out
    assert "defaults  supposed" in out and why in out


@pytest.mark.parametrize("arguments", [["--no-cluster"], []], ids=["no cluster is asked", "it does not tell"])
def test_a_job_that_leaves_its_engine_open_is_planned_as_by_an_operator_with_an_image_of_every_release(
    store: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(["plan", write(store, job(query={"python": CODE})), "--json", *arguments]) == 0
    assert told(capsys)["plan"]["engine"] == "rapidsmpf", "nothing says that its data is small"
    assert main(["plan", write(store, job()), "--json", *arguments]) == 0
    plan = told(capsys)["plan"]
    assert plan["engine"] == "cpu" and plan["why"].endswith("in memory is too little for a GPU")


def test_annotations_that_may_not_be_read_are_told(
    store: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.publishes()
    cluster.tells("/api/v1/namespaces/lake", 'Error from server (Forbidden): namespaces "lake" is forbidden')
    assert main(["plan", write(store, job())]) == 0
    assert "annotations of namespace lake were not read, and may change the plan" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["kubectl", "a context"])
def test_without_a_cluster_the_supposed_defaults_are_named(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    folder = store / "empty"
    folder.mkdir()
    if missing == "a context":
        (folder / "kubectl").write_text(
            "#!/bin/sh\necho 'error: current-context must exist in order to minify' >&2\nexit 1\n"
        )
        (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    assert main(["plan", write(store, job())]) == 0
    said = "kubectl is not installed" if missing == "kubectl" else "kubectl has no context"
    out = capsys.readouterr().out
    assert "defaults  supposed, as those of an operator that changes none and has an image of every release" in out
    assert f"(no cluster was asked: {said})" in out
    assert main(["plan", write(store, job()), "--context", "prod"]) == 2, "what was asked for by name must be there"


def test_a_job_for_this_machine_alone_asks_no_cluster_to_take_it(
    store: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    document = job(inputs=[{"name": "nation", "uri": "file://data/*.parquet"}], output={"uri": "file://out"})
    assert main(["plan", write(store, document)]) == 0
    assert "for `gpuquery run` alone" in capsys.readouterr().out
    assert [words[0] for words, _ in cluster.calls()] == ["config"]


def test_every_refusal_of_a_file_is_told(store: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.publishes()
    jobs = [job("one", engine="rapidsmpf"), job("two"), job("three", engine="rapidsmpf")]
    assert main(["plan", write(store, *jobs)]) == 2
    err = capsys.readouterr().err
    assert "one: InvalidCombination" in err and "three: InvalidCombination" in err and "two" not in err


def test_a_cluster_that_never_answers_holds_a_plan_for_seconds_only(
    store: Path, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The time is kubectl's own bound and ours, for a program that kubectl calls may hang as well."""
    (cluster.folder / "kubectl").write_text('#!/bin/sh\ncase "$*" in *config*) echo "{}";; *) exec sleep 60;; esac\n')
    monkeypatch.setattr(clusters, "CALL_SECONDS", 1)
    began = time.monotonic()
    assert main(["plan", write(store, job())]) == 0
    assert time.monotonic() - began < 20
    assert "kubectl did not end within 1 s" in capsys.readouterr().out
