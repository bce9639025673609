"""A Dask cluster that runs already, as somebody else would have it: plain `dask scheduler` and `dask worker`."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.dask_pods import SECONDS, TCP
from tests.support.engine_ranks import TEST_ENGINE, environment
from tests.support.ranks import until

if TYPE_CHECKING:
    import signal


class Warm:
    """The cluster; its workers keep their files in `folder/local`. They and the scheduler import `preload` when they
    start, before they connect."""

    def __init__(self, python: Path, folder: Path, *, workers: int = 2, protocol: str = "tcp", preload: str = "", **env: str) -> None:  # fmt: skip # noqa: E501
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "local").mkdir()
        self._env = environment(TEST_ENGINE, **{**TCP, **env})
        file = folder / "scheduler.json"
        host = ["--protocol", protocol, "--host", "127.0.0.1", *(["--preload", preload] if preload else [])]
        self._processes = [
            self._start(python, "scheduler", *host, "--port", "0", "--scheduler-file", str(file), "--no-dashboard",
                        "--dashboard-address", "127.0.0.1:0")
        ]  # fmt: skip
        self.address = json.loads(until(lambda: file.exists() and file.read_text(), SECONDS, "no scheduler"))["address"]
        for number in range(workers):
            self._processes.append(
                self._start(python, "worker", self.address, *host, "--name", f"warm-{number}", "--nthreads", "1",
                            "--no-dashboard", "--local-directory", str(folder / "local"))
            )  # fmt: skip

    def _start(self, python: Path, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("a") as log:
            return subprocess.Popen(
                [python, "-m", "dask", *words], env=self._env, cwd=self.folder, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def log(self) -> str:
        """What all have logged."""
        return (self.folder / "log").read_text(errors="replace")

    def kill_worker(self, number: int) -> None:
        """Kill a worker with its nanny."""
        os.killpg(self._processes[1 + number].pid, 9)

    def signal_worker(self, number: int, which: signal.Signals) -> None:
        """Send a signal to a worker, and not to its nanny."""
        os.kill(self._spawned(self._processes[1 + number].pid), which)

    def kill_scheduler(self) -> None:
        """Kill the scheduler."""
        os.killpg(self._processes[0].pid, 9)

    def _spawned(self, nanny: int) -> int:
        """Return the process that a nanny has made; it has one more, which looks after what processes share."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == nanny and b"spawn_main" in (entry / "cmdline").read_bytes():
                    return int(entry.name)
        raise AssertionError(f"process {nanny} has no worker:\n{self.log()[-4000:]}")

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until all together have logged a text so often."""
        until(lambda: self.log().count(text) >= times, SECONDS, f"{text!r} is not {times} times in the log")

    def runs(self) -> bool:
        """Whether all that was started runs yet."""
        return all(process.poll() is None for process in self._processes)

    def files(self) -> list[str]:
        """Part files that jobs have left on the workers."""
        return [str(file) for file in (self.folder / "local").rglob("gpuquery-*")]

    def close(self) -> None:
        """End it."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait(SECONDS)
