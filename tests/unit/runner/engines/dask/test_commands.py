"""What is started of a Dask cluster in each pod: the words of Dask's programs, their variables, how many processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.plan.dask import flags
from gpuquery.plan.plan import Dask, Plan
from gpuquery.plan.releases import RELEASES
from gpuquery.runner.engines.dask.owned import commands
from tests.support.dask_plans import dask_plan

if TYPE_CHECKING:
    from pathlib import Path


def workers(of: Plan, memory: int = 0) -> commands.Workers:
    assert of.dask is not None
    return commands.Workers(of, of.dask, "ucx://10.0.0.1:8786", "job-1-0", "/scratch/x", memory)


def has(words: list[str], *wanted: str) -> bool:
    return any(tuple(words[n : n + len(wanted)]) == wanted for n in range(len(words)))


@pytest.mark.parametrize(
    ("engine", "release", "options", "wanted", "unwanted"),
    [
        pytest.param("tasks", "25.08", {}, ["--rmm-async"], ["--rmm-pool-size"], id="tasks takes memory by the driver"),
        pytest.param("rapidsmpf", "26.04", {}, ["--rmm-async"], [], id="and so does rapidsmpf while it brings none"),
        pytest.param("rapidsmpf", "26.06", {}, [], ["--rmm-async"], id="an engine class brings its own"),
        pytest.param("rapidsmpf", "26.10", {}, [], ["--rmm-async"], id="and in later releases too"),
        pytest.param(
            "tasks",
            "26.04",
            {"rmm-pool-size": "0.8"},
            ["--rmm-pool-size", "0.8"],
            ["--rmm-async"],
            id="a pool is enough",
        ),
        pytest.param("tasks", "26.04", {"rmm-async": False}, ["--no-rmm-async"], [], id="no may be said"),
        pytest.param("tasks", "26.04", {"enable-nvlink": False}, ["--disable-nvlink"], [], id="in dask-cuda's words"),
    ],
)
def test_how_workers_take_gpu_memory(
    engine: str, release: str, options: dict[str, Any], wanted: list[str], unwanted: list[str]
) -> None:
    complete = flags.complete(options, RELEASES[release])
    words = commands.cuda_workers(workers(dask_plan(engine, release, options=complete)))
    assert words[:2] == ["cuda", "worker"]
    assert not wanted or has(words, *wanted)
    assert not [word for word in unwanted if word in words]


def test_a_pod_s_memory_is_shared_by_its_workers() -> None:
    assert has(commands.cuda_workers(workers(dask_plan(), 64 << 30)), "--memory-limit", str(32 << 30))
    assert has(commands.cuda_workers(workers(dask_plan())), "--memory-limit", "auto")
    given = commands.cuda_workers(workers(dask_plan(options={"memory-limit": "10GB"}), 64 << 30))
    assert has(given, "--memory-limit", "10GB")
    assert given.count("--memory-limit") == 1


def test_the_dashboard_is_hidden_unless_it_is_asked_for() -> None:
    assert has(commands.scheduler(Dask(workers=1), "10.0.0.1", "f"), "--dashboard-address", "127.0.0.1:0")
    assert has(commands.scheduler(Dask(workers=1, dashboard=True), "10.0.0.1", "f"), "--dashboard-address", ":8787")


def test_no_variable_of_a_job_makes_dask_restart_workers() -> None:
    given = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "1s", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "7s"}
    environment = commands.environment(given)
    assert environment["DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"] == "None"
    assert environment["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"] == "7s", "others may be set"


def settings(tmp_path: Path, **environment: str) -> Any:
    from gpuquery.runner.coordination import settings

    (tmp_path / "token").write_text("7c" * 32)
    given = {"JOB_COMPLETION_INDEX": "1", "GPUQUERY_HUB": "x-0.x", "GPUQUERY_TOKEN_FILE": str(tmp_path / "token")}
    document = {"version": 1, "replicas": 3, "gpus": 2, "processes": "pods"}
    return settings.read(document, tmp_path / "plan", {**given, **environment}, program="p", port=1)


def test_a_pod_of_a_dask_cluster_has_one_process_with_all_gpus(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert (found.per_pod, found.size, list(found.own)) == (1, 3, [1])
    assert found.place(1, {1: "job-1-1"}) == "pod job-1-1", "no GPU is to blame in particular"
    assert found.device(1) is None
