"""Several ranks of one query as processes of this machine, in a release's packages, with gates but no supervisors."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.gates import GateServer

if TYPE_CHECKING:
    from gpuquery.plan.plan import Plan

ROOT = Path(__file__).parents[2]
TEST_ENGINE = ROOT / "tests" / "engine"
LIMIT = 240.0
_FOREIGN = ("CUDF_POLARS", "RAPIDSMPF", "UCX", "TEST_ENGINE")


def environment(*folders: Path, **more: str) -> dict[str, str]:
    """Variables of a process that runs a part of GpuQuery in a release's packages."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    paths = os.pathsep.join(str(folder) for folder in (*folders, ROOT / "operator", ROOT))
    return clean | {"PYTHONPATH": paths, "UCX_WARN_UNUSED_ENV_VARS": "n", **more}


class Ranks:
    """Processes that run one plan together; `words` go to `engine_rank.py`."""

    def __init__(self, python: Path, folder: Path, size: int, plan: Plan, *words: str, **env: str) -> None:
        self.gates = GateServer(size)
        self.folder = folder
        document = folder / "plan.json"
        document.write_text(plan.model_dump_json(by_alias=True, exclude_none=True))
        own = () if "own" in words else (TEST_ENGINE,)
        self.processes = []
        for index in range(size):
            command = [
                python, Path(__file__).with_name("engine_rank.py"), str(index), str(size), str(self.gates.port),
                document, folder / "ranks", *words,
            ]  # fmt: skip
            with (folder / f"{index}.log").open("w") as log:
                self.processes.append(
                    subprocess.Popen(
                        command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment(*own, **env)
                    )
                )

    @property
    def kept(self) -> Path:
        """Pattern of the files that the ranks handed over."""
        return self.folder / "ranks" / "*" / "kept" / "*.parquet"

    def ended(self) -> list[list[dict[str, Any]]]:
        """Wait for all; return what each said."""
        return [self.one(index)[1] for index in range(len(self.processes))]

    def one(self, index: int) -> tuple[int | None, list[dict[str, Any]]]:
        """Wait for one; return its exit code and what it said."""
        out, _ = self.processes[index].communicate(timeout=LIMIT)
        said = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return self.processes[index].returncode, said

    def log(self, index: int) -> str:
        """What a rank wrote to standard error."""
        return (self.folder / f"{index}.log").read_text()

    def close(self) -> None:
        """End those that are left."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        self.gates.close()
