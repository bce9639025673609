"""Whole attempts that write a Delta table, each in a process of its own, which can be killed at any call of the store.

python -m tests.support.delta_runs '<json>'      # see `start`
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.api.receipt import Receipt, ReceiptJob, ReceiptQuery
from gpuquery.plan.plan import Plan
from gpuquery.runner.failures.errors import JobError
from tests.support.sinks import ROOT, sink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.output.sink import Sink

PROGRAM = "tests.support.delta_runs"
QUERY = ReceiptQuery(language="python", sha256="0" * 64)
ROWS = {"k": ["a/b", "ä", None] * 100, "v": list(range(300))}


@dataclass(frozen=True)
class Death:
    """A call of the store, by its method and a pattern of its key, before or after which the process kills itself."""

    method: str
    key: str
    after: bool = False


DEATHS = {
    "while a file is written": Death("put", r"^data/"),
    "when all files are in the store": Death("put", r"rank-00000\.json$"),
    "when it is staged": Death("put", r"rank-00000\.json$", after=True),
    "when it has its permit": Death("create", r"permit$", after=True),
    "right before the commit": Death("create", r"^_delta_log/"),
    "right after the commit": Death("create", r"^_delta_log/", after=True),
    "while it tidies up": Death("delete", r"^_staging/"),
    "before the receipt": Death("put", r"^_receipts/"),
    "after the receipt": Death("put", r"^_receipts/", after=True),
}
"""All moments at which an attempt can die that leave different things behind."""


def start(
    made: Plan, attempt: int, env: Mapping[str, str], *, death: Death | None = None, gate: bool = False,
    program: str = PROGRAM,
) -> subprocess.Popen[str]:  # fmt: skip
    """Run an attempt. With a gate it says "ready" when it is staged, and commits when it gets a line."""
    order = {
        "plan": made.model_dump_json(), "attempt": attempt, "gate": gate, "death": asdict(death) if death else None,
    }  # fmt: skip
    command = [sys.executable, "-X", "faulthandler", "-m", program, json.dumps(order)]
    environment = {**os.environ, **env, "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def race(made: Sequence[Plan], env: Mapping[str, str], program: str = PROGRAM) -> list[str]:
    """Let attempts commit at the same time; returns what each has said in the end."""
    running = [start(one, 1, env, gate=True, program=program) for one in made]
    try:
        for one in running:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in running:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        return [one.communicate(timeout=120)[0].strip() for one in running]
    finally:
        for one in running:
            one.kill()


def killed(made: Plan, env: Mapping[str, str], death: Death, program: str = PROGRAM) -> None:
    """Run the first attempt, which dies."""
    ended = start(made, 1, env, death=death, program=program)
    said, _ = ended.communicate(timeout=120)
    assert ended.returncode == -signal.SIGKILL, said


def attempt(one: Sink, *, gate: bool = False, lf: pl.LazyFrame | None = None) -> str:
    """Run a whole attempt; returns the committed version, or the class of its failure."""
    lf = pl.LazyFrame(ROWS) if lf is None else lf
    try:
        if (done := one.preflight()) is None:
            one.check_schema(lf.collect_schema())
            one.write(lf)
            one.seal()
            if gate:
                print("ready", flush=True)
                sys.stdin.readline()
            done = one.commit()
            one.describe(Receipt(job=ReceiptJob(**dict(one._asked.job)), query=QUERY, version=done.version or 0))
    except JobError as exc:
        one.abort()
        return exc.failure.value
    return done.commit


def main() -> None:
    order = json.loads(sys.argv[1])
    made = Plan.model_validate_json(order["plan"])
    one = sink(made, order["attempt"])
    if order["death"]:
        die_at(type(one._table.store), Death(**order["death"]))
    print(attempt(one, gate=order["gate"]), flush=True)


def die_at(kind: type, death: Death) -> None:
    """Let a process die in a method of a class, whose first argument is a key, or some."""
    call = getattr(kind, death.method)

    def deadly(self: Any, key: Any, *more: Any) -> Any:
        keys = [key] if isinstance(key, str) else key if isinstance(key, list | tuple) else [""]
        hit = any(re.search(death.key, each) for each in keys)
        if hit and not death.after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = call(self, key, *more)
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(kind, death.method, deadly)


if __name__ == "__main__":
    main()
