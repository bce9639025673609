"""Plans and runs of the sink for tests, in this process or as a process of its own that can be killed.

python -m tests.support.sinks '<json>'      # see `run_in_process`
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from gpuquery.api.status import OutputStatus
from gpuquery.plan.plan import JobRef, Language, Plan, StoreAccess
from gpuquery.runner.sink.commit import Step, no_hook
from gpuquery.runner.sink.sink import Identity, Sink

ROOT = Path(__file__).parents[2]
ROWS = {"k": ["a/b", "", None] * 1000, "v": list(range(3000))}


def plan(uri: str, *, endpoint: str | None = None, uid: str = "", **output: Any) -> Plan:
    """A plan whose output is `uri`."""
    return Plan(
        job=JobRef(namespace="ns", name="job", uid=uid or str(uuid4())),
        attempt=1,
        engine="cpu",
        cluster="single",
        language=Language.SQL,
        query="",
        output={"uri": uri, **output},  # type: ignore[arg-type]
        store=StoreAccess(endpoint=endpoint, path_style=bool(endpoint)),
    )


def sink(made: Plan, attempt: int = 1, **more: Any) -> Sink:
    """The sink of a plan's job."""
    return Sink(made, Identity(made.job.uid, attempt), **more)


def run(made: Plan, lf: pl.LazyFrame | None = None, attempt: int = 1) -> OutputStatus:
    """Run a whole attempt."""
    one = sink(made, attempt)
    if (done := one.preflight()) is not None:
        return done
    lf = pl.LazyFrame(ROWS) if lf is None else lf
    one.check_schema(lf.collect_schema())
    try:
        one.write(lf)
        return one.commit()
    except BaseException:
        one.abort()
        raise


def run_in_process(made: Plan, *, attempt: int = 1, die_at: Step | None = None, env: Mapping[str, str]) -> int:
    """Run an attempt in its own process, which kills itself with SIGKILL at a step; returns the exit code."""
    order = json.dumps({"plan": made.model_dump_json(), "attempt": attempt, "die_at": die_at})
    command = [sys.executable, "-m", "tests.support.sinks", order]
    environment = {**os.environ, **env, "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}"}
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=120).returncode


def main() -> None:
    order = json.loads(sys.argv[1])
    made = Plan.model_validate_json(order["plan"])

    def die(step: Step) -> None:
        if step == order["die_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    one = sink(made, order["attempt"], hook=die if order["die_at"] else no_hook)
    if one.preflight() is None:
        one.write(pl.LazyFrame(ROWS))
        one.commit()


if __name__ == "__main__":
    main()
