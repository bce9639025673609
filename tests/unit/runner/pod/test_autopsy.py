"""Autopsies: when a file is looked for after a crash, what is taken from the program that looks, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.pod import autopsy

if TYPE_CHECKING:
    from pathlib import Path

RUST = ["memory allocation of 2305843009213693896 bytes failed", "stack backtrace:"]
UCX = ["terminate called after throwing an instance of 'ucxx::UnreachableError'", "  what():  Endpoint timeout"]


@pytest.mark.parametrize(
    ("status", "tail", "alone", "want"),
    [
        pytest.param(-signal.SIGABRT, RUST, True, True, id="a reader that aborts"),
        pytest.param(-signal.SIGABRT, RUST, False, True, id="the same in a set"),
        pytest.param(-signal.SIGSEGV, [], True, True, id="a crash that says nothing"),
        pytest.param(-signal.SIGSEGV, [], False, False, id="the same in a set, which would wait for the answer"),
        pytest.param(-signal.SIGABRT, UCX, True, False, id="a crash of the network"),
        pytest.param(-signal.SIGKILL, [], True, False, id="killed"),
        pytest.param(-signal.SIGTERM, [], True, False, id="told to end"),
        pytest.param(1, RUST, True, False, id="ended by itself"),
    ],
)
def test_a_file_is_looked_for_where_one_may_be_to_blame(status, tail, alone, want):
    process = SimpleNamespace(status=status, tail=lambda: tail)
    assert autopsy.worthwhile(process, alone=alone) is want


def settings(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> SimpleNamespace:
    (folder / "examiner.py").write_text(program)
    monkeypatch.setattr(autopsy, "PROGRAM", "examiner")
    return SimpleNamespace(plan=folder / "plan.json", environment={**os.environ, "PYTHONPATH": str(folder)})


@pytest.mark.parametrize(
    ("said", "want"),
    [
        pytest.param({"failure": "InvalidInput", "message": "it is b"}, (Failure.INVALID_INPUT, "it is b"), id="found"),
        pytest.param({}, None, id="nothing found"),
        pytest.param({"failure": "No such class", "message": ""}, None, id="another version's word"),
    ],
)
async def test_the_programs_answer_is_taken(tmp_path, monkeypatch, said, want):
    given = settings(tmp_path, monkeypatch, f"print({json.dumps(json.dumps(said))})")
    assert await autopsy.finding(given, asyncio.Event()) == want


async def test_a_program_that_crashes_finds_nothing(tmp_path, monkeypatch):
    given = settings(tmp_path, monkeypatch, "import os; os.abort()")
    assert await autopsy.finding(given, asyncio.Event()) is None


async def test_an_order_to_stop_ends_the_search(tmp_path, monkeypatch):
    given = settings(tmp_path, monkeypatch, "import time; time.sleep(100)")
    stopped = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, stopped.set)
    begun = time.monotonic()
    assert await autopsy.finding(given, stopped) is None
    assert time.monotonic() - begun < 30
