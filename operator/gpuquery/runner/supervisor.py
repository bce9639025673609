"""PID 1 of the pod: reads the part of the plan that it needs, and hands over to `runner.pod`.

It imports next to nothing (no Polars, no pydantic), so that it starts in a blink, takes little of the query's memory,
and survives what the query process does not: a crash in native code, the OOM killer. In a set of ranks it starts one
process for each GPU, or one for all of them where they are part of a Dask cluster; otherwise one process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuquery.api.labels import PLAN_DIRECTORY, PLAN_KEY, PROGRESS_PORT, RENDEZVOUS_PORT, TERMINATION_LOG
from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner import trust
from gpuquery.runner.coordination import settings
from gpuquery.runner.coordination.causes import Fault
from gpuquery.runner.pod import report
from gpuquery.runner.pod.run import run

if TYPE_CHECKING:
    from collections.abc import Sequence

ALLOCATOR = "_RJEM_MALLOC_CONF"
"""Variable that Polars hands its memory allocator."""
SAFE_PAGES = "muzzy_decay_ms:0"
"""No memory is given back by MADV_FREE, as Polars would have it: with NUMA balancing and at a container's memory limit,
kernels of RHEL 9 can lose what is written to such memory later, so that results change silently or the process crashes
(pola-rs/polars#29061). It is the allocator's own default."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the plan in a child; exit code 0 if it was committed or its preflight passed, else 1."""
    args = _arguments(argv)
    try:
        plan = _document(args.plan)
        wanted = settings.read(plan, args.plan, _environment(), program=args.program, port=args.set_port)
        return run(wanted, port=args.port, termination_log=args.termination_log)
    except settings.SettingsError as exc:
        return _broke_off(args, str(exc))
    except trust.TrustError as exc:
        return _broke_off(args, str(exc), Failure.INVALID_ENDPOINT)
    except Exception as exc:  # a supervisor that breaks off tells so, like whatever it supervises
        return _broke_off(args, f"the supervisor broke off: {type(exc).__name__}: {exc}")


def _broke_off(args: argparse.Namespace, message: str, failure: Failure = Failure.INTERNAL_ERROR) -> int:
    _log(f"failed: {message}")
    return report.leave(report.failed(Fault(failure, message)), args.termination_log, _log)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpuquery.runner.supervisor", description=__doc__)
    parser.add_argument("--plan", type=Path, default=Path(PLAN_DIRECTORY, PLAN_KEY), help="the plan, a JSON file")
    parser.add_argument("--port", type=int, default=PROGRESS_PORT, help="port of /v1/progress and the probes")
    parser.add_argument("--set-port", type=int, default=RENDEZVOUS_PORT, help="port for the other pods of a set")
    parser.add_argument("--program", default=settings.PROGRAM, help="module that each process of the query runs")
    parser.add_argument(
        "--termination-log",
        type=Path,
        default=Path(os.environ.get("GPUQUERY_TERMINATION_LOG", TERMINATION_LOG)),
        help="file for the report",
    )
    return parser.parse_args(argv)


def _document(path: Path) -> dict[str, Any]:
    """Read the plan as far as the supervisor needs it; empty if it cannot be read, which the query process tells."""
    with contextlib.suppress(OSError, ValueError):
        plan = json.loads(path.read_text())
        return plan if isinstance(plan, dict) else {}
    return {}


def _environment() -> dict[str, str]:
    allocator = ",".join(filter(None, [SAFE_PAGES, os.environ.get(ALLOCATOR)]))
    return {**os.environ, **trust.variables(), ALLOCATOR: allocator}


def _log(line: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} supervisor: {clean(line)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    # A thread that still looks up a name is not waited for.
    os._exit(main())
