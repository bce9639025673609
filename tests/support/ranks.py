"""Sets of ranks on this machine: real supervisors, each with its own ports, and light processes of the query."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any

from gpuquery.api.report import MAX_REPORT_BYTES, Report
from tests.support.seaweed import free_ports

ROOT = Path(__file__).parents[2]
TOKEN = "7c" * 32
SECONDS = 90
BEAT = 4.0
"""Heartbeat limit of most tests: shorter than that of real sets, long enough for a busy machine."""


def until(condition, seconds=SECONDS, what="it did not happen"):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


class Supervisor:
    """One pod."""

    def __init__(self, owner: Set, index: int, output: IO[str] | None, **environment: str) -> None:
        self.index = index
        self.folder = owner.folder / f"pod-{index}"
        self.folder.mkdir()
        self.port, self.board = owner.ports[index], owner.boards[index]
        self.log = self.folder / "termination-log"
        plan = {
            "version": 1, "processes": "ranks", "replicas": owner.pods, "gpus": owner.gpus,
            "heartbeatSeconds": owner.beat, **owner.plan,
        }  # fmt: skip
        (self.folder / "plan.json").write_text(json.dumps(plan))
        (self.folder / "token").write_text(environment.pop("token", TOKEN))
        self.stderr_file = (self.folder / "stderr").open("w+")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "gpuquery.runner.supervisor", "--plan", str(self.folder / "plan.json"),
                "--port", str(self.board), "--set-port", str(self.port), "--termination-log", str(self.log),
                "--program", owner.program,
            ],
            env={
                **{key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"},
                "JOB_COMPLETION_INDEX": str(index),
                "GPUQUERY_POD_NAME": f"pod-{index}",
                "GPUQUERY_HUB": f"127.0.0.1:{owner.ports[0]}",
                "GPUQUERY_TOKEN_FILE": str(self.folder / "token"),
                "STAND_IN": json.dumps({"folder": str(owner.folder), **owner.told}),
                **environment,
            },
            cwd=ROOT,
            stderr=output or self.stderr_file,
            stdout=output or self.stderr_file,
        )  # fmt: skip

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")

    def end(self, seconds: float = SECONDS) -> tuple[int, Report]:
        code = self.process.wait(seconds)
        line = self.log.read_text()
        assert len(line.encode()) <= MAX_REPORT_BYTES
        report = Report.from_line(line)
        assert report is not None, line
        return code, report

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.board}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()
        except OSError:
            return 0, ""


class Set:
    """A set of pods."""

    def __init__(self, folder: Path, pods: int = 3, gpus: int = 1, *, beat: float = BEAT, **told: Any) -> None:
        self.folder = folder
        self.pods, self.gpus, self.beat = pods, gpus, beat
        self.plan: dict[str, Any] = told.pop("plan", {})
        self.program = told.pop("program", "tests.support.rank")
        self.told = told
        free = free_ports(2 * pods)
        self.ports, self.boards = free[:pods], free[pods:]
        self.supervisors: dict[int, Supervisor] = {}

    def start(self, *indexes: int, output: IO[str] | None = None, **environment: str) -> Set:
        for index in indexes or range(self.pods):
            self.supervisors[index] = Supervisor(self, index, output, **environment)
        return self

    def pid(self, index: int, moment: str) -> int:
        """Wait until a process has reached a moment; returns its id."""
        mark = self.folder / f"{index}.{moment}"
        until(mark.exists, what=f"process {index} did not come to {moment}: {self.logs()}")
        return int(mark.read_text())

    def all_at(self, moment: str) -> list[int]:
        return [self.pid(index, moment) for index in range(self.pods * max(1, self.gpus))]

    def go(self) -> None:
        (self.folder / "go").touch()

    def ends(self, seconds: float = SECONDS) -> list[tuple[int, Report]]:
        return [self.supervisors[index].end(seconds) for index in sorted(self.supervisors)]

    def logs(self) -> str:
        return "\n".join(f"--- {index}\n{s.stderr}" for index, s in self.supervisors.items())

    def processes(self) -> list[int]:
        """Every process that belongs to this set and lives: they all have its folder in their environment."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.folder).encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def close(self) -> None:
        for supervisor in self.supervisors.values():
            supervisor.stderr_file.close()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for supervisor in self.supervisors.values():
            supervisor.process.wait(SECONDS)
