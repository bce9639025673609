"""Plans and runs of the sink for tests, in this process or as a process of its own that can be killed.

python -m tests.support.sinks '<json>'      # see `run_in_process` and `abort_in_process`
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import polars as pl

from gpuquery.plan.plan import JobRef, Language, Plan, StoreAccess
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.commit import Step, no_hook
from gpuquery.runner.output.sink import Identity, Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuquery.api.status import OutputStatus

ROOT = Path(__file__).parents[2]
ROWS = {"k": ["a/b", "", None] * 1000, "v": list(range(3000))}


def plan(
    uri: str | None, *, endpoint: str | None = None, store: StoreAccess | None = None, uid: str = "", **output: Any
) -> Plan:
    """A plan whose output is `uri`, or what `output` says."""
    return Plan(
        job=JobRef(namespace="ns", name="job", uid=uid or str(uuid4())),
        attempt=1,
        engine="cpu",
        cluster="single",
        language=Language.SQL,
        query="",
        output={**({} if uri is None else {"uri": uri}), **output},  # type: ignore[arg-type]
        store=store or StoreAccess(endpoint=endpoint, path_style=bool(endpoint)),
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
    return _process({"plan": made.model_dump_json(), "attempt": attempt, "die_at": die_at}, env).returncode


def abort_in_process(made: Plan, *, env: Mapping[str, str]) -> Aborted:
    """Abort a long write in its own process, which ends as the query process does; returns what it has seen.

    What native code does with a query that was taken from under it then can harm no other test.
    """
    ended = _process({"plan": made.model_dump_json(), "attempt": 1, "abort": True}, env)
    assert ended.returncode == 0
    return Aborted(**json.loads(ended.stdout))


@dataclass(frozen=True)
class Aborted:
    """How `abort` and the methods after it ended."""

    seconds: float
    write: str
    commit: str


def _process(order: Mapping[str, object], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.support.sinks", json.dumps(order)]
    environment = {**os.environ, **env, "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}"}
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=120, stdout=subprocess.PIPE, text=True)


def main() -> None:
    order = json.loads(sys.argv[1])
    made = Plan.model_validate_json(order["plan"])
    if order.get("abort"):
        print(json.dumps(asdict(_abort(made))), flush=True)
        os._exit(0)

    def die(step: Step) -> None:
        if step == order["die_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    one = sink(made, order["attempt"], hook=die if order["die_at"] else no_hook)
    if one.preflight() is None:
        one.write(pl.LazyFrame(ROWS))
        one.commit()


def _abort(made: Plan) -> Aborted:
    moving = threading.Event()
    writer = sink(made, on_progress=lambda files, rows, size: moving.set() if size else None)
    writer.preflight()
    slow = pl.LazyFrame({"v": range(60_000_000)}).with_columns(pl.col("v").hash().alias("h"))
    write: list[str] = []
    thread = threading.Thread(target=lambda: write.append(_failure(lambda: writer.write(slow))), daemon=True)
    thread.start()
    assert moving.wait(60), "nothing was uploaded"
    begun = time.monotonic()
    writer.abort()
    seconds = time.monotonic() - begun
    thread.join(20)
    writer.abort()
    return Aborted(seconds, write[0] if write else "it goes on", _failure(writer.commit))


def _failure(action: Callable[[], object]) -> str:
    try:
        action()
    except JobError as exc:
        return str(exc)
    return "it succeeded"


if __name__ == "__main__":
    main()
