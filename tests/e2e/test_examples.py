"""Every file of examples/ and the demo itself, on the cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import yaml

from tests.e2e.conftest import install
from tests.e2e.jobs import Bench, true
from tools.kubectl import ROOT, Cluster

if TYPE_CHECKING:
    from pathlib import Path

ORDER = [
    "revenue-by-region.yaml",
    "revenue-growth.yaml",
    "late-orders-python.yaml",
    "top-customers-configmap.yaml",
    "nations-csv.yaml",
    "orders-append.yaml",
]
NEED_GPUS = ["warm-cluster.yaml"]


def test_every_example_is_listed_here() -> None:
    assert sorted(p.name for p in (ROOT / "examples").glob("*.yaml")) == sorted([*ORDER, *NEED_GPUS])


@pytest.mark.parametrize("file", NEED_GPUS)
def test_an_example_that_needs_gpus_is_accepted_as_it_stands(cluster: Cluster, operator: None, file: str) -> None:
    """By the API server's own schemas, which would drop what they do not know without the flag."""
    said = cluster.run("apply", "--dry-run=server", "--validate=strict", "-f", str(ROOT / "examples" / file))
    assert said.count("(server dry run)") == 2


@pytest.fixture(scope="module")
def csv(lake: Any, tables: Path) -> None:
    nation = pl.read_parquet(tables / "nation" / "*.parquet")
    lake.client().put_object(Bucket="lake", Key="tpch-csv/nation.csv", Body=nation.write_csv().encode())


@pytest.mark.parametrize("file", ORDER)
def test_an_example_completes_with_rows(bench: Bench, csv: None, file: str) -> None:
    kinds = {d["kind"]: d for d in yaml.safe_load_all((ROOT / "examples" / file).read_text())}
    verb = "create" if "generateName" in kinds["GpuQueryJob"]["metadata"] else "apply"
    said = bench.cluster.run(verb, "--validate=strict", "-n", bench.namespace, "-f", str(ROOT / "examples" / file))
    name = next(line.split("/")[1].split()[0] for line in said.splitlines() if line.startswith("gpuqueryjob"))
    if file != "revenue-by-region.yaml":
        bench.names.append(name)
    job = bench.ended(name)
    assert true(job, "Complete"), job["status"]["conditions"]
    assert job["status"]["output"]["rows"] > 0


@pytest.mark.alone
@pytest.mark.skipif("CONTEXT" in os.environ, reason="the demo installs its own release")
def test_the_demo_runs_to_its_table(bench: Bench) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tools.demo", "--scale", "0.01"],
            cwd=ROOT, capture_output=True, text=True, timeout=280,
        )  # fmt: skip
    finally:
        install(bench.cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Complete=True" in done.stdout
    assert "MIDDLE EAST" in done.stdout
