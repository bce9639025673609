"""The startup probe as a real process: it ends when the pod is ready, and not before."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from gpuquery.runner.board import Board, serve
from tests.support.pod import WAIT_SECONDS
from tests.support.seaweed import free_ports


@pytest.fixture
def probe():
    port = free_ports(1)[0]
    process = subprocess.Popen([sys.executable, "-m", "gpuquery.runner.ready", str(port)], stderr=subprocess.PIPE)
    yield port, process
    process.kill()
    process.wait()


def test_the_probe_waits_for_the_supervisor_and_then_for_the_query_and_ends_well(probe, monkeypatch):
    port, process = probe
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)  # nobody listens yet
    asked, board = threading.Event(), Board()
    answer = board.answer

    def noted(path: str) -> tuple[int, str, bytes]:
        asked.set()
        return answer(path)

    monkeypatch.setattr(board, "answer", noted)
    serve(board, port)
    assert asked.wait(WAIT_SECONDS)
    assert process.poll() is None, "a pod that answers is not ready yet"
    board.put(b'{"phase":"planning"}')
    assert process.wait(WAIT_SECONDS) == 0
    assert process.communicate() == (None, b"")
