"""Jobs of a file in a process of their own: a crash ends one of them, an interrupt ends all, nothing else changes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support import broken_files
from tests.support.job_tables import job

if TYPE_CHECKING:
    from pathlib import Path

WAIT_SECONDS = 120
SLEEPS = """
import os, time

def query(inputs, params):
    open("reached", "w").close()
    time.sleep(100)
"""
ENDS = """
import os

def query(inputs, params):
    os._exit(7)
"""


def document(name: str, uri: str, **spec: Any) -> dict[str, Any]:
    made = {"query": {"sql": "SELECT max(s) AS s FROM t"}, "inputs": [{"name": "t", "uri": uri}],
            "output": {"uri": f"file://out-{name}"}, "engine": "cpu", **spec}  # fmt: skip
    return {**job(**made), "metadata": {"name": name}}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a good table, and one with a file that crashes its reader."""
    for folder in ("good", "bad"):
        (tmp_path / folder).mkdir()
        for n in range(3):
            data = broken_files.parquet(n * broken_files.ROWS)
            broken = folder == "bad" and n == 1
            (tmp_path / folder / f"{n}.parquet").write_bytes(broken_files.crashing(data) if broken else data)
    return tmp_path


def started(here: Path, *documents: dict[str, Any]) -> subprocess.Popen[str]:
    (here / "jobs.yaml").write_text(yaml.safe_dump_all(documents))
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from gpuquery.cli import main; sys.exit(main(sys.argv[1:]))",
         "run", "jobs.yaml", "-o", "json"],
        cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]], str]:
    out, err = process.communicate(timeout=WAIT_SECONDS)
    return process.returncode, json.loads(out) if out else [], err


def test_a_job_that_crashes_loses_no_other_and_its_file_is_named(here: Path) -> None:
    good, bad = "file://good/*.parquet", "file://bad/*.parquet"
    jobs = (document("first", good), document("second", bad), document("third", good))
    code, results, err = ended(started(here, *jobs))
    assert code == 1, err
    assert [(result["job"], "committed" in result) for result in results] == [
        ("first", True), ("second", False), ("third", True)
    ]  # fmt: skip
    assert results[1]["failure"] == "InvalidInput"
    assert f'input "t": {here}/bad/1.parquet cannot be read at row group 2' in results[1]["message"]


def test_a_query_that_ends_its_process_is_told_and_the_next_job_runs(here: Path) -> None:
    good = "file://good/*.parquet"
    code, results, err = ended(started(here, document("ends", good, query={"python": ENDS}), document("next", good)))
    assert code == 1, err
    assert [result.get("failure") for result in results] == ["UserError", None]
    assert "has ended the process" in results[0]["message"]


def test_an_interrupt_of_the_command_reaches_the_job(here: Path) -> None:
    good = "file://good/*.parquet"
    process = started(here, document("sleeps", good, query={"python": SLEEPS}), document("next", good))
    until = time.monotonic() + WAIT_SECONDS
    while not (here / "reached").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    code, results, err = ended(process)
    assert (code, results) == (130, []), err
    assert "interrupted: what was written was withdrawn" in err
    assert not (here / "out-next").exists()
