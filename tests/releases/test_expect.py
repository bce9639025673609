"""Expectations on images of GPU releases: they have other versions of Polars, which judge the result all the same."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.releases import environments

pytestmark = pytest.mark.releases

PROBE = Path(__file__).with_name("expect_probe.py")


@pytest.mark.parametrize("release", environments.CHECKED)
def test_a_release_finds_the_duplicates_and_the_nulls_that_there_are(release):
    env = {**os.environ, "PYTHONPATH": f"{environments.ROOT / 'operator'}:{environments.ROOT}"}
    python = environments.python_of(release)
    done = subprocess.run([python, "-P", PROBE], env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    wanted = [600, 1800, 3]
    assert json.loads(done.stdout) == {"files": True, "nulls": {"n": 1600}, "at once": wanted, "in buckets": wanted}
