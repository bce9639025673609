"""A plan without Kubernetes: the same attempt, sink and commit, in this process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from gpuquery.api.report import Progress, Report
from gpuquery.plan.plan import Plan, Purpose
from gpuquery.runner import storage
from gpuquery.runner.attempt import Attempt
from gpuquery.runner.progress import Tracker


def run(plan: Plan, *, on_progress: Callable[[Progress], None]) -> Report:
    """Run a plan to its end; `on_progress` is called from another thread, at most twice a second and on every phase.

    On Ctrl-C what was staged is withdrawn, then KeyboardInterrupt goes on to the caller.
    """
    return _to_its_end(Attempt(plan, Tracker(on_progress, quiet=True)))


def preflight(plan: Plan) -> Report:
    """Check a plan as its preflight's pod would; what only that pod could tell is told to be skipped."""
    asking = plan.model_copy(update={"purpose": Purpose.PREFLIGHT})
    with _no_folders_left(storage.locate(plan.output.uri)):
        return _to_its_end(Attempt(asking, Tracker(lambda _: None, quiet=True), lenient=True))


@contextlib.contextmanager
def _no_folders_left(output: storage.Location) -> Iterator[None]:
    """Remove the folders that a probe of the output has made; a store has none."""
    made = [] if output.is_s3 else [p for p in (Path(output.prefix), *Path(output.prefix).parents) if not p.exists()]
    try:
        yield
    finally:
        if made:
            for folder, _, _ in os.walk(made[0], topdown=False):
                with contextlib.suppress(OSError):  # it is not empty
                    os.rmdir(folder)
            for parent in made[1:]:
                with contextlib.suppress(OSError):
                    parent.rmdir()


def _to_its_end(attempt: Attempt) -> Report:
    try:
        return attempt.run()
    except KeyboardInterrupt:
        report = attempt.stop("interrupted")
        if report.committed is not None:
            return report
        raise
