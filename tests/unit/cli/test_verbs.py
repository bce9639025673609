"""Every verb of the command line with every kind of job."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import yaml

from gpuquery.cli import main
from tests.support.fake_kubectl import FakeCluster, cluster, store
from tests.support.job_tables import job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["cluster", "store"]

TWO_COLUMNS = {"sql": "SELECT n_name, 1 AS n FROM nation"}
OUT = {"uri": "s3://lake/out/x"}
SQL = {"sql": "SELECT n_name FROM nation"}
PYTHON = {"python": "def query(inputs, params):\n    return inputs['nation']\n"}
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "q"}, "data": {"q.sql": SQL["sql"]}}
OLD, NEW = {"runtime": {"release": "26.04"}}, {"runtime": {"release": "26.10"}}
TWO = {"workers": {"replicas": 1, "gpus": 2}}
PODS = {"workers": {"replicas": 2, "gpus": 1}}
GPU_KINDS: dict[str, dict[str, Any]] = {
    "tasks on one GPU": {"engine": "tasks", **OLD},
    "tasks on a Dask cluster of its own": {"engine": "tasks", "cluster": "distributed", **OLD, **TWO},
    "rapidsmpf on one GPU": {"engine": "rapidsmpf", **NEW},
    "rapidsmpf as a set of ranks": {"engine": "rapidsmpf", "cluster": "distributed", **NEW, **TWO},
    "rapidsmpf on a Dask cluster of its own": {"dask": {"backend": "native"}, **NEW, **TWO},
    "a Dask cluster by dask-kubernetes": {"dask": {"backend": "operator"}, **NEW, **PODS},
    "a Dask cluster of somebody else's": {"dask": {"clusterRef": {"name": "warm"}}, **NEW, **TWO},
    "tasks by dask-kubernetes": {"engine": "tasks", "dask": {"backend": "operator"}, **OLD, **PODS},
    "the deprecated field": {"scheduler": "distributed", **NEW, **TWO},
    "a release alone": {**NEW},
    "a GPU alone": {"workers": {"gpus": 1}},
    "pods by the size of the data": {"workers": {"replicas": "auto"}, "cluster": "distributed", **NEW},
    "options of the engine": {"executorOptions": {"target_partition_size": "1GB"}, **NEW},
    "an image of its own": {"engine": "rapidsmpf", "runtime": {"release": "26.10", "image": "mine:1"}},
    "Python on a GPU": {"engine": "rapidsmpf", "query": PYTHON, **NEW},
}
CPU_KINDS: dict[str, dict[str, Any]] = {
    "nothing said": {},
    "the engine cpu": {"engine": "cpu"},
    "Python": {"query": PYTHON},
    "a query of a ConfigMap": {"query": {"configMapKeyRef": {"name": "q", "key": "q.sql"}}},
    "a dry run": {"dryRun": True},
    "no preflight": {"preflight": "never"},
    "a preflight always": {"preflight": "always"},
    "an image of its own for the CPU": {"engine": "cpu", "runtime": {"image": "mine:1"}},
    "text": {"inputs": [{"name": "nation", "uri": "s3://lake/tpch/nation.csv"}]},
    "partitions of a folder": {
        "query": TWO_COLUMNS,
        "output": {**OUT, "partitionBy": ["n_name"], "mode": "overwritePartitions"},
    },
    "a Delta table": {"output": {**OUT, "delta": {}, "mode": "append", "schemaEvolution": "widen"}},
    "partitions of a Delta table": {
        "query": TWO_COLUMNS,
        "output": {
            **OUT,
            "delta": {},
            "partitionBy": ["n_name"],
            "mode": "overwrite",
            "overwriteWhere": "n_name > 'A'",
        },
    },
}
CATALOG_KINDS: dict[str, dict[str, Any]] = {
    "an Iceberg table": {"output": {"table": {"catalog": "lake", "name": "sales.nation"}}},
    "a branch of a new one": {
        "output": {
            "table": {
                "catalog": "lake", "name": "sales.nation", "branch": "audit", "create": {"partitionBy": ["n_name"]},
            },
            "mode": "overwritePartitions",
        },
    },
}  # fmt: skip
KINDS = {**GPU_KINDS, **CPU_KINDS}
ALL_KINDS = {**KINDS, **CATALOG_KINDS}


def written(folder: Path, kind: str, *, local: bool = False) -> str:
    """Write a job of a kind; `local` puts its places on this machine."""
    spec = dict(ALL_KINDS[kind])
    if local:
        ending = "csv" if kind == "text" else "parquet"
        frame = pl.DataFrame({"n_name": ["FRANCE", "PERU"]})
        (folder / "data").mkdir(exist_ok=True)
        frame.write_csv(folder / "data" / "b.csv")
        frame.write_parquet(folder / "data" / "b.parquet")
        spec["inputs"] = [{"name": "nation", "uri": f"file://data/b.{ending}"}]
        if kind not in CATALOG_KINDS:
            spec["output"] = {**spec.get("output", {}), "uri": "file://result"}
    (folder / "job.yaml").write_text(yaml.safe_dump_all([CONFIG_MAP, job(**spec)]))
    return str(folder / "job.yaml")


def results(capsys: pytest.CaptureFixture[str]) -> Iterator[dict[str, Any]]:
    yield from json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_validate_takes_every_kind_of_job(tmp_path: Path, kind: str) -> None:
    assert main(["validate", written(tmp_path, kind)]) == 0
    assert main(["validate", written(tmp_path, kind, local=True)]) == 0


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_render_prints_the_objects_of_every_kind_of_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert main(["render", written(tmp_path, kind)]) == 0
    kinds = {document["kind"] for document in yaml.safe_load_all(capsys.readouterr().out)}
    assert {"ConfigMap", "Job"} <= kinds
    assert ("DaskCluster" in kinds) is ("dask-kubernetes" in kind)


@pytest.mark.parametrize("kind", KINDS)
def test_plan_tells_what_becomes_of_every_kind_of_job_without_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert main(["plan", written(tmp_path, kind, local=True), "--no-cluster", "--run-code", "--json"]) == 0
    (told,) = results(capsys)
    assert told["good"] and told["preflight"]["polars"]
    assert (told["plan"]["gpus"] > 0) is (kind in GPU_KINDS)
    assert ("cost" in told) is (kind in GPU_KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_plan_tells_what_the_cluster_would_make_of_every_kind_of_job(
    store: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    cluster.publishes(runtime_image_pattern="rt:{release}", dask_operator="true", dask_attach="true")
    (store / "data" / "a.csv").write_text("n_name\nPERU\n")
    assert main(["plan", written(store, kind), "--run-code"]) == 0
    out = capsys.readouterr().out
    assert "defaults  of context test" in out and "checks    passed" in out


@pytest.mark.parametrize(
    ("output", "told"),
    [
        pytest.param({}, "folder file://{}/result, mode errorIfExists", id="a folder"),
        pytest.param(
            CPU_KINDS["partitions of a Delta table"]["output"],
            "Delta table file://{}/result, mode overwrite where n_name > 'A'",
            id="a Delta table",
        ),
    ],
)
def test_plan_tells_what_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], output: dict[str, Any], told: str
) -> None:
    kind = "partitions of a Delta table" if output else "nothing said"
    assert main(["plan", written(tmp_path, kind, local=True), "--no-cluster"]) == 0
    assert f"write     {told.format(tmp_path)}" in capsys.readouterr().out


def test_validate_finds_a_condition_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = {**OUT, "delta": {}, "partitionBy": ["n_name"], "mode": "overwrite", "overwriteWhere": "n_name >"}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job(output=output)))
    assert main(["validate", str(tmp_path / "job.yaml")]) == 2
    assert "output.overwriteWhere" in capsys.readouterr().err


@pytest.mark.parametrize("kind", CPU_KINDS)
def test_run_runs_every_kind_of_job_that_needs_no_gpu(tmp_path: Path, kind: str) -> None:
    assert main(["run", written(tmp_path, kind, local=True)]) == 0
    assert pl.read_parquet(tmp_path / "result" / "data").height == 2


@pytest.mark.parametrize("kind", GPU_KINDS)
def test_run_says_of_every_kind_of_gpu_job_what_this_machine_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert main(["run", written(tmp_path, kind, local=True)]) == 1
    err = capsys.readouterr().err
    assert "InvalidPlan: " in err and "which this machine does not have" in err and "engine: cpu" in err
    assert "runtime.image" not in err, "there is no image here that could be left out"


HOSTILE = "\x1b]0;title\x07\x1b[2J\u009b31m\u202e\nall is well"
HIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|^all is well", re.MULTILINE)
STRANGE: dict[str, dict[str, Any]] = {
    "a query": job(query={"sql": f'SELECT * FROM "{HOSTILE}"'}),
    "Python that does not compile": job(query={"python": f"def query(:  # {HOSTILE}"}),
    "a field's name": job(**{HOSTILE: 1}),
    "a field's value": job(engine=HOSTILE),
    "an input": job(inputs=[{"name": "nation", "uri": f"file://{HOSTILE}"}]),
    "a ConfigMap's name": job(query={"configMapKeyRef": {"name": HOSTILE, "key": "q.sql"}}),
    "a ConfigMap's key": job(query={"configMapKeyRef": {"name": "q", "key": f"{HOSTILE}.sql"}}),
    "a parameter": job(parameters={HOSTILE: {"integer": 1}}),
    "the job's own name": {**job(), "metadata": {"name": HOSTILE}},
}


@pytest.mark.parametrize("verb", ["validate", "render", "plan", "run"])
@pytest.mark.parametrize("place", STRANGE)
def test_no_verb_prints_what_a_file_hides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, place: str
) -> None:
    monkeypatch.setenv("KUBECONFIG", os.devnull)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump_all([CONFIG_MAP, STRANGE[place]]))
    main([verb, str(tmp_path / "job.yaml")])
    out, err = capsys.readouterr()
    assert out + err and not HIDDEN.search(out + err), repr(out + err)


DEEP = {"signs": "-" * 100_000 + "1", "attributes": "a" + ".b" * 60_000, "calls": "f" + "()" * 50_000}


@pytest.mark.parametrize("expression", DEEP.values(), ids=list(DEEP))
@pytest.mark.parametrize("verb", ["validate", "plan"])
def test_no_depth_of_a_query_ends_a_verb_in_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, expression: str
) -> None:
    monkeypatch.setenv("KUBECONFIG", os.devnull)
    query = {"python": f"def query(inputs, params):\n    return {expression}\n"}
    (tmp_path / "job.yaml").write_text(json.dumps(job(query=query)))
    assert main([verb, str(tmp_path / "job.yaml")]) != 0
    assert "query.python does not compile" in capsys.readouterr().err


@pytest.fixture
def mute() -> Iterator[str]:
    """An endpoint that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for one in taken:
            one.close()


@pytest.mark.slow
def test_every_verb_ends_within_seconds_of_its_error_where_the_store_never_answers(tmp_path: Path, mute: str) -> None:
    """What a thread of a library still waits for must not hold whoever has read the error."""
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(job(engine="cpu", storage={"endpoint": mute})))
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "KUBECONFIG": os.devnull}
    program = "import sys; from gpuquery.cli import main; sys.exit(main(sys.argv[1:]))"
    running = {
        verb: subprocess.Popen(
            [sys.executable, "-c", program, verb, str(file)], env=environment, stderr=subprocess.PIPE, text=True
        )
        for verb in ("plan", "run")
    }
    try:
        for verb, process in running.items():
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            assert any("StorageUnavailable" in line for line in lines), verb
            told = time.monotonic()
            assert process.wait(timeout=60) == 1, verb
            assert time.monotonic() - told < 5, f"{verb} held on after its error"
    finally:
        for process in running.values():
            process.kill()
            process.wait()
