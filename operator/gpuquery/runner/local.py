"""A plan without Kubernetes: the same attempt, sink and commit, in this process."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.api.report import Progress, Report
from gpuquery.plan.plan import Language, Plan, Purpose
from gpuquery.runner.attempt import Attempt, Review
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.preflight import contracts, release
from gpuquery.runner.progress import Tracker
from gpuquery.runner.query import inputs, queries
from gpuquery.runner.stores import reach, storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpuquery.runner.query.sql.explanation import Explanation


def run(plan: Plan, *, on_progress: Callable[[Progress], None]) -> Report:
    """Run a plan to its end; `on_progress` is called from another thread, at most twice a second and on every phase.

    On Ctrl-C what was staged is withdrawn, then KeyboardInterrupt goes on to the caller.
    """
    try:
        release.check(plan, release.MACHINE)  # the attempt would say it of an image
    except JobError as error:
        return Report(failure=error.failure, message=error.message, finished=datetime.now(UTC))
    return _to_its_end(Attempt(plan, Tracker(on_progress, quiet=True)))


def preflight(plan: Plan, *, runs_code: bool) -> Report:
    """Check a plan as its preflight's pod would; what only that pod could tell is told to be skipped.

    Without `runs_code` nothing of a Python query is run, so what it makes of its inputs is not checked.
    """
    asking = plan.model_copy(update={"purpose": Purpose.PREFLIGHT})
    with _no_folders_left(storage.locate(plan.output.uri)):
        return _to_its_end(Attempt(asking, Tracker(lambda _: None, quiet=True), review=Review(runs_code)))


def explain(plan: Plan) -> Explanation:
    """Explain the SQL of a plan over its inputs, of which only schemas and footers are read; raises JobError.

    What is no SQL of our planner has no plan of ours: it is refused.
    """
    query = queries.prepare(plan) if plan.language is Language.SQL else None
    if not isinstance(query, queries.Sql):
        word = "Python" if query is None else "Polars' own SQL"
        message = f"{word} has no plan here: gpuquery plan says whether the query can run, and where"
        raise JobError(Failure.INVALID_QUERY, message)
    reach.check([item.uri for item in plan.inputs], plan.store)
    frames = inputs.open_all(plan.inputs, plan.store)
    contracts.check(plan.inputs, frames)
    return query.explain(frames)


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
