"""The pod of one process, as real processes, with a small program in place of the query."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from gpuquery.runner.pod.log import Forwarder, Log
from tests.support.loops import turn
from tests.support.pod import WAIT_SECONDS, until
from tests.support.seaweed import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = """
import argparse, json, os, sys, time
parser = argparse.ArgumentParser()
for name in ("--plan", "--report", "--progress-fd"):
    parser.add_argument(name)
args = parser.parse_args()

def report(**fields):
    with open(args.report, "w") as file:
        file.write(json.dumps(fields) + "\\n")

"""


class Supervised:
    """A supervisor of a program."""

    def __init__(self, folder: Path, body: str, **plan: object) -> None:
        (folder / "program.py").write_text(PROGRAM + body)
        (folder / "plan.json").write_text(json.dumps(plan))
        self.port, self.log = free_ports(1)[0], folder / "log"
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "gpuquery.runner.supervisor", "--program", "program",
                "--plan", str(folder / "plan.json"), "--port", str(self.port), "--termination-log", str(self.log),
            ],
            env={**os.environ, "PYTHONPATH": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()
        except OSError:
            return 0, ""

    def report(self) -> dict[str, object]:
        told = json.loads(self.log.read_text())
        assert isinstance(told, dict)
        return told


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[list[Supervised]]:
    started: list[Supervised] = []
    yield started
    for one in started:
        one.process.kill()
        one.process.communicate()


def test_whatever_stands_in_the_pipe_of_progress_the_pod_answers_and_ends_as_the_query_does(
    tmp_path: Path, supervised: list[Supervised]
) -> None:
    body = (
        "fd = int(args.progress_fd)\n"
        """for line in (b'{"phase":"running","rows":7}', b'not json', b'7', b'[]', b'{"rows":1}', b'[' * 30000):\n"""
        "    os.write(fd, line + b'\\n')\n"
        f"while not os.path.exists({str(tmp_path / 'end')!r}):\n"
        "    time.sleep(0.02)\n"
        "report(done=True)\n"
    )
    pod = Supervised(tmp_path, body)
    supervised.append(pod)
    until(lambda: pod.get("/readyz")[0] == 200)
    until(lambda: "gpuquery_written_rows 7" in pod.get("/metrics")[1])
    assert json.loads(pod.get("/v1/progress")[1]) == {"phase": "running", "rows": 7}
    (tmp_path / "end").touch()
    pod.process.communicate(timeout=WAIT_SECONDS)
    assert (pod.process.returncode, pod.report()) == (0, {"done": True})


def test_an_answer_that_cannot_be_made_ends_no_query(tmp_path: Path, supervised: list[Supervised]) -> None:
    body = (
        """os.write(int(args.progress_fd), b'{"phase":"\\\\ud800"}\\n')\n"""  # a text that nobody can encode
        f"while not os.path.exists({str(tmp_path / 'end')!r}):\n"
        "    time.sleep(0.02)\n"
        "report(done=True)\n"
    )
    pod = Supervised(tmp_path, body)
    supervised.append(pod)
    until(lambda: pod.get("/readyz")[0] == 200)
    assert pod.get("/metrics") == (500, "UnicodeEncodeError\n")
    (tmp_path / "end").touch()
    pod.process.communicate(timeout=WAIT_SECONDS)
    assert (pod.process.returncode, pod.report()) == (0, {"done": True})


BROKEN = """
import gpuquery.runner.pod.pod

def broken(*_):
    raise RuntimeError("a defect")

gpuquery.runner.pod.pod.Pod._take = broken
"""


def test_a_supervisor_with_a_defect_says_so_wherever_its_loop_has_met_it(
    tmp_path: Path, supervised: list[Supervised]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    pod = Supervised(tmp_path, """os.write(int(args.progress_fd), b'{"phase":"running"}\\n')\ntime.sleep(2)\n""")
    supervised.append(pod)
    assert pod.process.wait(WAIT_SECONDS) == 1
    report = pod.report()
    assert (report["failure"], report["message"]) == (
        "InternalError",
        "the supervisor broke off: RuntimeError: a defect",
    )


def test_a_query_that_works_for_longer_than_the_limit_while_it_runs_is_left_alone(
    tmp_path: Path, supervised: list[Supervised]
) -> None:
    body = (
        """os.write(int(args.progress_fd), b'{"phase":"running"}\\n')\n"""
        "until = time.monotonic() + 4\n"
        "while time.monotonic() < until: pass\n"
        "report(done=True)\n"
    )
    pod = Supervised(tmp_path, body, stallSeconds=1)
    supervised.append(pod)
    assert pod.process.wait(WAIT_SECONDS) == 0, pod.report()


def test_the_end_of_a_query_is_noticed_though_its_signal_is_lost(tmp_path: Path, supervised: list[Supervised]) -> None:
    (tmp_path / "sitecustomize.py").write_text("import signal\nsignal.pthread_sigmask(0, [signal.SIGCHLD])\n")
    pod = Supervised(tmp_path, "report(done=True)\n", stallSeconds=10)
    supervised.append(pod)
    assert pod.process.wait(WAIT_SECONDS) == 0


@pytest.mark.parametrize("waits", [True, False])
def test_who_waits_for_the_reader_of_the_log_loses_no_line(waits: bool) -> None:
    lines = b"".join(b"line %d\n" % n for n in range(300_000))
    loop, (output, said), (log, written) = asyncio.new_event_loop(), os.pipe(), os.pipe()
    for end in (said, log):
        os.set_blocking(end, False)
    forwarder = Forwarder(loop, output, Log(loop, written), waits=waits)
    sent, taken, stuck = 0, b"", 0
    while sent < len(lines) and stuck < 3:  # as far as it goes while nobody reads
        try:
            sent, stuck = sent + os.write(said, lines[sent : sent + 4096]), 0
        except BlockingIOError:
            stuck += 1
        turn(loop)
    assert (sent < len(lines)) is waits
    while True:
        with contextlib.suppress(BlockingIOError):
            sent += os.write(said, lines[sent : sent + 4096])
        turn(loop)
        try:
            taken += os.read(log, 65536)
        except BlockingIOError:
            if sent == len(lines):
                break
    assert (taken == lines) is waits
    os.close(said)
    forwarder.close()
    for end in (log, written):
        os.close(end)


def test_what_a_query_prints_is_the_pods_output_and_stands_in_no_message(
    tmp_path: Path, supervised: list[Supervised]
) -> None:
    body = "print('a row', flush=True)\nprint('a reason', file=sys.stderr, flush=True)\nos._exit(9)\n"
    pod = Supervised(tmp_path, body)
    supervised.append(pod)
    out, error = pod.process.communicate(timeout=WAIT_SECONDS)
    assert out == b"a row\n"
    assert b"a reason\n" in error
    assert "a reason" in str(pod.report()["message"])
    assert "a row" not in str(pod.report()["message"])
