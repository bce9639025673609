"""A Dask cluster of several "pods" on this machine: real supervisors with the query, in a release's packages.

Each pod has its own scratch: the folder for temporary files of its processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuquery.api.report import Report
from tests.support.engine_ranks import ROOT, TEST_ENGINE, environment
from tests.support.ranks import TOKEN, until
from tests.support.seaweed import free_ports

if TYPE_CHECKING:
    from gpuquery.plan.plan import Plan

SECONDS = 400.0
"""Imports of a release take tens of seconds on a busy machine."""
TCP = {"UCX_TLS": "tcp,self"}
"""What there is between pods."""


class Pods:
    """The pods of one attempt, which are started together."""

    def __init__(self, python: Path, folder: Path, plan: Plan, *, own: bool = False, **env: str) -> None:
        """With `own` they run GpuQuery's own engines."""
        self.folder = folder
        self.plan = plan
        self._python = python
        self._own = own
        self._env = env
        free = free_ports(2 * plan.replicas)
        self.ports, self.boards = free[: plan.replicas], free[plan.replicas :]
        (folder / "token").write_text(TOKEN)
        (folder / "plan.json").write_text(plan.model_dump_json(by_alias=True, exclude_none=True))
        self.processes = [self._start(index) for index in range(plan.replicas)]

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        home = self.folder / f"pod-{index}"
        scratch = home / "scratch"
        scratch.mkdir(parents=True)
        paths = (own_engines(self.folder),) if self._own else (TEST_ENGINE,)
        env = environment(*paths, **{**TCP, **self._env})
        env.pop("CUDA_VISIBLE_DEVICES", None)
        command = [
            self._python, "-m", "gpuquery.runner.supervisor", "--plan", self.folder / "plan.json",
            "--port", str(self.boards[index]), "--set-port", str(self.ports[index]),
            "--termination-log", home / "termination-log",
        ]  # fmt: skip
        with (home / "log").open("w") as log:
            return subprocess.Popen(
                command,
                env=env | {
                    "TMPDIR": str(scratch),
                    "JOB_COMPLETION_INDEX": str(index),
                    "GPUQUERY_POD_NAME": f"pod-{index}",
                    "GPUQUERY_HUB": f"127.0.0.1:{self.ports[0]}",
                    "GPUQUERY_TOKEN_FILE": str(self.folder / "token"),
                },
                stdout=log,
                stderr=log,
            )  # fmt: skip

    def end(self, index: int, seconds: float = SECONDS) -> tuple[int, Report]:
        """Wait for one; returns its exit code and its report."""
        try:
            code = self.processes[index].wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"pod {index} did not end within {seconds:g} s:\n{self.logs()}") from None
        line = (self.folder / f"pod-{index}" / "termination-log").read_text()
        report = Report.from_line(line)
        assert report is not None, line
        return code, report

    def ends(self, seconds: float = SECONDS) -> list[tuple[int, Report]]:
        """Wait for all."""
        deadline = time.monotonic() + seconds
        return [self.end(index, max(1.0, deadline - time.monotonic())) for index in range(len(self.processes))]

    def pid(self, index: int, role: str) -> int:
        """Wait for a process of Dask of a pod; returns its id."""
        pattern = f"pod-{index}/scratch/*/{role}.*"

        def found() -> int | None:
            alive = (int(file.suffix[1:]) for file in self.folder.glob(pattern))
            return next((pid for pid in alive if Path(f"/proc/{pid}").exists()), None)

        return int(until(found, SECONDS, f"no {role} in pod {index}:\n{self.logs()}"))

    def wait_for(self, text: str, index: int = 0) -> None:
        """Wait until a pod has logged a text."""
        log = self.folder / f"pod-{index}" / "log"

        def logged() -> bool:
            ended = self.processes[index].poll() is not None
            found = text in log.read_text(errors="replace")
            assert found or not ended, f"{text!r} is not in:\n{self.logs()}"
            return found

        until(logged, SECONDS, f"{text!r} is not in the log of pod {index}")

    def log(self, index: int) -> str:
        """What a pod has logged."""
        return (self.folder / f"pod-{index}" / "log").read_text(errors="replace")

    def logs(self) -> str:
        """What all have logged last."""
        return "\n".join(f"--- {index}\n{self.log(index)[-6000:]}" for index in range(len(self.processes)))

    def left(self) -> list[int]:
        """Processes that belong to these pods and live: they all have the folder in their environment."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                here = int(entry.name) != os.getpid()
                if here and str(self.folder).encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def close(self) -> None:
        """End what is left."""
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            process.wait(SECONDS)


def own_engines(folder: Path) -> Path:
    """Have GpuQuery's engines found by entry points, as where it is installed; returns the folder for the path."""
    info = folder / "own" / "gpuquery-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["gpuquery.engines"]
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gpuquery\nVersion: 0\n")
    (info / "entry_points.txt").write_text("\n".join(["[gpuquery.engines]", *lines, ""]))
    return info.parent


def dask(**changes: Any) -> dict[str, Any]:
    """The part of a plan that asks for a Dask cluster."""
    return {"way": "native", "workers": 3, "protocol": "ucx", **changes}
