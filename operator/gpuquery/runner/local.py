"""A plan without Kubernetes: the same attempt, sink and commit, in this process."""

from __future__ import annotations

from collections.abc import Callable

from gpuquery.api.report import Progress, Report
from gpuquery.plan.plan import Plan
from gpuquery.runner.attempt import Attempt
from gpuquery.runner.progress import Tracker


def run(plan: Plan, *, on_progress: Callable[[Progress], None]) -> Report:
    """Run a plan to its end; `on_progress` is called from another thread, at most twice a second and on every phase.

    On Ctrl-C what was staged is withdrawn, then KeyboardInterrupt goes on to the caller.
    """
    attempt = Attempt(plan, Tracker(on_progress, quiet=True))
    try:
        return attempt.run()
    except KeyboardInterrupt:
        report = attempt.stop("interrupted")
        if report.committed is not None:
            return report
        raise
