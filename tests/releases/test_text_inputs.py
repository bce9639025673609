"""CSV and NDJSON as inputs read them are translated for GPUs, apart from types that a table names."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.releases import environments
from tests.releases.environments import CUDA

pytestmark = pytest.mark.releases

PROBE = Path(__file__).with_name("text_probe.py")
NEVER = {"Decimal, checked while the query runs", "Time, looked at before", "Time, checked while the query runs"}
LACKS = {"26.04": {"Datetime UTC, checked while the query runs"}, "26.10": set()}
"""What else a release cannot; others are not known."""


@pytest.mark.parametrize("release", [one for one in LACKS if one in environments.CHECKED])
def test_the_ways_to_read_text_that_a_release_cannot_run_are_known(release):
    python = environments.python_of(release)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CUDF_POLARS", "RAPIDSMPF"))}
    if release == "26.04":
        env["LD_LIBRARY_PATH"] = str(environments.nvml_stub(environments.folder(release, CUDA)))
    env["PYTHONPATH"] = f"{environments.ROOT / 'operator'}:{environments.ROOT}"
    done = subprocess.run([python, "-P", PROBE, release], env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert {way for way, problem in found.items() if problem} == NEVER | LACKS[release], found
