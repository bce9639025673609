"""The example that picks an execution model, inside the environment of each release."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.plan.releases import find
from tests.releases import environments
from tests.releases.environments import CUDA
from tools.kubectl import ROOT

if TYPE_CHECKING:
    from tests.releases.conftest import Package

pytestmark = pytest.mark.releases
SCRIPT = ROOT / "examples" / "execution_model_selection.py"


def chosen(package: Package, *arguments: str) -> dict[str, object]:
    python = environments.python(package.release.name, CUDA)
    assert python is not None
    done = subprocess.run(
        [str(python), str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
    )
    fields: dict[str, object] = yaml.safe_load(done.stdout)
    return fields


def test_it_finds_the_release_and_picks_what_that_runs(package: Package) -> None:
    fields = chosen(package, "--data", "300GB", "--gpus", "8")
    release = find(package.release.name)
    assert release is not None
    assert fields["runtime"] == {"release": release.name}
    assert release.cells[EngineChoice(fields["engine"]), ClusterChoice(fields["cluster"])].way is not None
    assert fields["cluster"] == "distributed"
    assert fields["workers"] == {"replicas": 1, "gpus": 8}


def test_without_a_gpu_it_falls_back_to_the_cpu(package: Package) -> None:
    assert chosen(package, "--data", "300GB", "--gpus", "0") == {"engine": "cpu", "cluster": "single"}
