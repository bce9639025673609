"""A supervisor as a real process, with what a kubelet would give it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from gpuquery.api.report import MAX_REPORT_BYTES, Report
from tests.support.runner import plan
from tests.support.seaweed import free_ports

WAIT_SECONDS = 60
HELD_THREADS = 2
"""How much a held query has written depends on how many threads hold rows back, so not on the machine's cores."""
IN_CGROUP = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
"""Enters a cgroup before it becomes the program, as a container runtime does."""
HOLD = """
import os
import polars as pl

def query(inputs, params):
    seen = 0

    def hold(frame):
        nonlocal seen
        seen += frame.height
        if seen > params["rows"]:
            with open(params["reached"], "w"):
                pass
            os.read(os.open(params["gate"], os.O_RDONLY), 1)   # a FIFO that nobody writes to
        return frame

    return inputs["t"].map_batches(hold, streamable=True, schema=inputs["t"].collect_schema())
"""


class Pod:
    """A supervisor and the files that a kubelet would give it."""

    def __init__(self, folder: Path, wanted, *, cgroup: Path | None = None, **environment: str) -> None:
        self.port = free_ports(1)[0]
        self.log = folder / "termination-log"
        plan_file = folder / "plan.json"
        plan_file.write_text(wanted if isinstance(wanted, str) else wanted.model_dump_json(by_alias=True))
        self.process = subprocess.Popen(
            [
                *(["sh", "-c", IN_CGROUP, str(cgroup)] if cgroup else []),
                sys.executable, "-m", "gpuquery.runner.supervisor", "--plan", str(plan_file), "--port", str(self.port),
                "--termination-log", str(self.log),
            ],
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self.stderr = ""

    def end(self, seconds: float = WAIT_SECONDS) -> tuple[int, Report]:
        _, self.stderr = self.process.communicate(timeout=seconds)
        line = self.log.read_text()
        report = Report.from_line(line)
        assert report is not None, line
        assert len(line.encode()) <= MAX_REPORT_BYTES
        assert "\n" not in line
        return self.process.returncode, report

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()
        except urllib.error.URLError:
            return 0, ""

    def threads(self) -> dict[int, dict[str, str]]:
        """What /proc tells of the query process's and the supervisor's threads, by thread."""
        found = {}
        for process in (self.process.pid, self.query_process()):
            for task in Path(f"/proc/{process}/task").iterdir():
                with contextlib.suppress(OSError):
                    lines = (task / "status").read_text().splitlines()
                    found[int(task.name)] = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        return found

    def query_process(self) -> int:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it may end while we look
                pid, parent = stat.read_text().split()[0], stat.read_text().rpartition(")")[2].split()[1]
                if int(parent) == self.process.pid:
                    return int(pid)
        raise AssertionError("the supervisor has no child")


def until(condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def held(folder: Path, uri: str, rows: int, **changes) -> Pod:
    """A pod whose query has handed on about `rows` rows of the file at `uri` and goes no further."""
    gate, reached = folder / "gate", folder / "reached"
    os.mkfifo(gate)
    parameters = {"gate": {"string": str(gate)}, "reached": {"string": str(reached)}, "rows": {"integer": rows}}
    wanted = plan(folder, HOLD, language="python", inputs={"t": uri}, parameters=parameters, **changes)
    pod = Pod(folder, wanted, POLARS_MAX_THREADS=str(HELD_THREADS))
    until(lambda: reached.exists() or pod.process.poll() is not None)
    return pod
