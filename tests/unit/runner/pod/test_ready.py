"""The startup probe as a real process: it ends when the pod is ready, and not before."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from gpuquery.runner.coordination import settings
from gpuquery.runner.coordination.link import listen
from gpuquery.runner.coordination.membership import Membership
from gpuquery.runner.pod.endpoints import Board
from gpuquery.runner.pod.http import serve
from tests.support.loops import turn
from tests.support.pod import WAIT_SECONDS
from tests.support.seaweed import free_ports


@pytest.fixture
def probe():
    port = free_ports(1)[0]
    process = subprocess.Popen([sys.executable, "-m", "gpuquery.runner.pod.ready", str(port)], stderr=subprocess.PIPE)
    yield port, process
    process.kill()
    process.wait()


def test_the_probe_waits_for_the_supervisor_and_then_for_the_query_and_ends_well(probe, monkeypatch, tmp_path):
    port, process = probe
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)  # nobody listens yet
    membership = Membership(settings.read({}, tmp_path, {}, program="p", port=0))
    asked, board = threading.Event(), Board(membership)
    answer = board.answer

    def noted(path: str) -> tuple[int, str, bytes]:
        asked.set()
        return answer(path)

    monkeypatch.setattr(board, "answer", noted)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(serve(listen(port), board.answer))
    deadline = time.monotonic() + WAIT_SECONDS
    while not asked.is_set() and time.monotonic() < deadline:
        turn(loop, 0.1)
    assert asked.is_set()
    assert process.poll() is None, "a pod that answers is not ready yet"
    membership.processes[0].progress = {"phase": "planning"}
    while process.poll() is None and time.monotonic() < deadline:
        turn(loop, 0.1)
    assert process.poll() == 0
    assert process.communicate() == (None, b"")
