"""The example that picks an execution model: what it prints, and that it falls back in the order that it states."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from gpuquery.plan import releases
from tools.kubectl import ROOT

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = ROOT / "examples" / "execution_model_selection.py"
GB = 10**9


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("execution_model_selection", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = load()


def choice(size: int, release: str | None, gpus: int) -> tuple[str, str]:
    found = example.candidates(size, release, gpus)
    return next((str(engine), str(cluster)) for engine, cluster, against in found if not against)


@pytest.fixture
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "find_spec", lambda name: name)


@pytest.mark.usefixtures("all_installed")
@pytest.mark.parametrize(
    ("size", "release", "gpus", "wanted"),
    [
        (300 * GB, "26.10", 8, ("rapidsmpf", "distributed")),
        (300 * GB, "26.10", 1, ("rapidsmpf", "single")),
        (10 * GB, "26.10", 8, ("rapidsmpf", "single")),
        (300 * GB, "25.12", 8, ("tasks", "distributed")),
        (300 * GB, "25.12", 1, ("tasks", "single")),
        (GB // 2, "26.10", 8, ("cpu", "single")),
        (300 * GB, "26.10", 0, ("cpu", "single")),
        (300 * GB, None, 8, ("cpu", "single")),
        (300 * GB, "27.12", 8, ("cpu", "single")),
    ],
)
def test_the_best_that_is_possible_is_picked(size: int, release: str, gpus: int, wanted: tuple[str, str]) -> None:
    assert choice(size, release, gpus) == wanted


def test_a_missing_package_is_named_and_the_next_best_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "find_spec", lambda name: None if name == "ucxx" else name)
    against = {(str(e), str(c)): why for e, c, why in example.candidates(300 * GB, "26.10", 8)}
    assert against["rapidsmpf", "distributed"] == "not installed: ucxx"
    assert "runs in" in against["tasks", "distributed"]
    assert against["cpu", "single"] == ""


def test_every_combination_that_a_release_runs_is_considered() -> None:
    runnable = {key for release in releases.RELEASES.values() for key, cell in release.cells.items() if cell.way}
    assert runnable <= set(example.ORDER)


def test_the_script_prints_fields_of_a_job() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--data", "300GB"], capture_output=True, text=True, check=True, timeout=60
    )
    assert yaml.safe_load(done.stdout) == {"engine": "cpu", "cluster": "single"}
    assert "cudf-polars is not installed" in done.stdout


def test_an_amount_that_is_none_is_told() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--data", "much"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "write a number and MB, GB or TB" in done.stderr
