"""Whether there is a GPU, which releases are there, and a report of what ran."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.plan import releases
from tests.bench import tpch
from tests.releases import environments
from tests.support.engine_ranks import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator

REPORT = Path(os.environ.get("GPUQUERY_GPU_REPORT") or ROOT / "dist" / "gpu-report.json")
SCALE = float(os.environ.get("GPUQUERY_GPU_SCALE") or 0.1)
_REPORTS = pytest.StashKey[list[dict[str, Any]]]()


def gpus() -> tuple[list[str], str]:
    """The GPUs of this machine as `nvidia-smi -L` lists them, and why there are none."""
    tool = shutil.which("nvidia-smi")
    if tool:
        done = subprocess.run([tool, "-L"], capture_output=True, text=True)
        found = [line for line in done.stdout.splitlines() if line.startswith("GPU ")]
        return found, "" if found else f"nvidia-smi finds no GPU: {(done.stdout + done.stderr).strip()}"
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return [], "this machine has no GPU: neither nvidia-smi nor libnvidia-ml.so.1 is there"
    return ["GPU of a machine without nvidia-smi"], ""


def python_of(release: str) -> Path | None:
    """A Python with a release's packages."""
    given = os.environ.get("GPUQUERY_GPU_PYTHON")
    if given and os.environ.get("GPUQUERY_GPU_RELEASE") == release:
        return Path(given)
    for cuda in (13, 12):
        if environments.lock(release, cuda).exists() and (found := environments.python(release, cuda)):
            return found
    return None


@pytest.fixture(scope="session")
def gpu() -> str:
    """The first GPU, or the test is skipped."""
    found, why = gpus()
    if not found:
        pytest.skip(why)
    return found[0]


@pytest.fixture
def python(release: str) -> Path:
    """A Python with the packages of the test's release, or the test is skipped."""
    found = python_of(release)
    if found is None:
        pytest.skip(f"the packages of {release} are not installed: python -m tests.releases.environments {release}")
    return found


@pytest.fixture(scope="session")
def tables(gpu: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tables of TPC-H."""
    folder = tmp_path_factory.mktemp("tpch")
    tpch.generate(folder, SCALE)
    return folder


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORTS] = []


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    done = (yield).get_result()
    if Path(__file__).parent in item.path.parents and (done.when == "call" or done.outcome != "passed"):
        why = done.longrepr[2] if isinstance(done.longrepr, tuple) else str(done.longrepr or "")[-2000:]
        item.config.stash[_REPORTS].append(
            {"test": item.name, "outcome": done.outcome, "seconds": round(done.duration, 2), "why": why}
            | dict(item.user_properties)
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    tests = session.config.stash[_REPORTS]
    if not tests:
        return
    found, why = gpus()
    report = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpus": found or why,
        "scale": SCALE,
        "releases": [name for name in releases.names() if python_of(name)],
        "outcomes": {
            outcome: sum(t["outcome"] == outcome for t in tests) for outcome in ("passed", "failed", "skipped")
        },
        "tests": tests,
    }
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
