"""Only processes that the cluster started are ever ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from node import process
from node.layout import Layout, RefusedError


def layout(folder: Path) -> Layout:
    made = Layout(state=folder / "state", cache=folder / "cache")
    made.logs.mkdir(parents=True)
    return made


def python(code: str) -> tuple[list[str], Path]:
    """A part that is this Python, and the folder it is in."""
    return [Path(sys.executable).name, "-c", code], Path(sys.executable).parent


def started(where: Layout, part: str, code: str) -> process.Running:
    command, folder = python(code)
    return process.start(where, part, command, folder)


SLEEP = "import time; time.sleep(60)"


def eventually(check: object) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if check():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_a_started_process_is_found_by_its_folder_and_part(tmp_path: Path) -> None:
    where = layout(tmp_path)
    running = started(where, "etcd", SLEEP)
    try:
        assert eventually(lambda: [p.part for p in process.of(where)] == ["etcd"])
        assert process.of(Layout(tmp_path / "another", where.cache)) == []
    finally:
        running.process.kill()
        running.process.wait()


def test_children_of_a_started_process_are_found_too(tmp_path: Path) -> None:
    where = layout(tmp_path)
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
    running = started(where, "containerd", code)
    try:
        assert eventually(lambda: len(process.of(where)) == 2)
    finally:
        process.end_all(
            lambda: [p.pid for p in process.of(where)], lambda pid: process.identify(pid) is not None, "test"
        )
        running.process.wait()
    assert process.of(where) == []


def test_a_stranger_is_not_ended_when_it_got_a_recycled_pid() -> None:
    stranger = subprocess.Popen([sys.executable, "-c", SLEEP])
    try:
        process.end(stranger.pid, lambda pid: process.identify(pid) is not None)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_ending_a_pid_that_is_gone_is_no_error() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    process.end(gone.pid, lambda _: True)


def test_a_process_outlives_the_session_of_its_starter(tmp_path: Path) -> None:
    running = started(layout(tmp_path), "etcd", SLEEP)
    try:
        assert os.getsid(running.process.pid) != os.getsid(0)
    finally:
        running.process.kill()
        running.process.wait()


def test_a_part_that_ended_says_so_with_the_end_of_its_log(tmp_path: Path) -> None:
    running = started(layout(tmp_path), "etcd", "print('no space left'); raise SystemExit(3)")
    running.process.wait()
    with pytest.raises(RefusedError, match=r"etcd ended with exit code 3.*\n.*no space left"):
        running.check()


def test_what_survives_sigkill_is_named() -> None:
    with pytest.raises(RefusedError, match=r"pods: processes \[1\] survive"):
        process.end_all(lambda: [1], lambda _: False, "pods", limit=0.05)


def test_sigkill_is_what_ends_a_process() -> None:
    running = subprocess.Popen([sys.executable, "-c", SLEEP])
    process.end(running.pid, lambda _: True)
    assert running.wait() == -signal.SIGKILL
