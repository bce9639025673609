"""Runs queries over folders in a process that a broken file may end: folders come in, one a line, reports go out.

`python -m tests.support.broken_inputs`. Files are looked up in this same process, for thousands of examples: that a
process of its own survives a crash has its own tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpuquery.runner.inputs.explain import lookup

SQL = "select a, s, f from t"


class Runner:
    """The process, begun again when it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, folder: Path, seconds: float) -> dict[str, Any] | None:
        """Return the report of the query over `<folder>/*.parquet`; None if the process died. Raises TimeoutError."""
        process = self._process or subprocess.Popen(
            [sys.executable, "-m", "tests.support.broken_inputs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{folder}\n".encode())
        process.stdin.flush()
        if not select.select([process.stdout], [], [], seconds)[0]:
            self.close()
            raise TimeoutError(f"no answer within {seconds:g} s: {folder}")
        line = process.stdout.readline()
        if not line:
            self.close()
            return None
        report: dict[str, Any] = json.loads(line)
        return report

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            self._process = None


def here(task: lookup.Task, looked: lookup.Looked, *, one_by_one: bool) -> None:
    """Look files up in this process, in place of `lookup._run`."""
    from gpuquery.runner.inputs import examine
    from gpuquery.runner.inputs.explain import lookup

    out = os.memfd_create("out")
    examine.perform(json.loads(task.to_json(one_by_one=one_by_one)), out)
    for line in os.pread(out, 1 << 24, 0).splitlines():
        told = json.loads(line)
        if told["kind"] == "broken":
            looked.broken.append(lookup.Broken(**told["file"]))
    os.close(out)


def main() -> None:
    """Serve folders until there are no more."""
    from gpuquery.runner.inputs.explain import lookup
    from tests.support.runner import plan, run

    lookup._run = here  # type: ignore[assignment]
    out = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin:
        folder = Path(line.strip())
        report = run(plan(folder, SQL, inputs={"t": f"file://{folder}/*.parquet"}))
        os.write(out, report.model_dump_json().encode() + b"\n")


if __name__ == "__main__":
    main()
