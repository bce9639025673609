"""The cluster that is up stays as it is."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from node import process
from node.layout import Layout

ONENODE = Path(__file__).parent / "onenode.py"


@pytest.fixture
def onenode() -> Layout:
    """The one-node cluster, up."""
    if os.environ.get("CONTEXT"):
        pytest.skip("the tests run on another cluster (CONTEXT is set)")
    layout = Layout.from_env()
    run("up")
    return layout


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, str(ONENODE), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.e2e
@pytest.mark.alone
def test_a_second_up_changes_nothing_and_takes_no_time(onenode: Layout) -> None:
    before = {(p.pid, p.part) for p in process.of(onenode) if p.part != "containerd"}
    began = time.monotonic()
    assert "already up" in run("up")
    assert time.monotonic() - began < 5
    assert {(p.pid, p.part) for p in process.of(onenode) if p.part != "containerd"} >= before


@pytest.mark.e2e
def test_keys_are_readable_by_root_alone(onenode: Layout) -> None:
    keys = [*onenode.pki.glob("*.key"), *onenode.pki.glob("*.conf"), onenode.kubeconfig]
    assert keys
    assert {path.stat().st_mode & 0o077 for path in keys} == {0}
    assert onenode.state.stat().st_mode & 0o077 == 0
