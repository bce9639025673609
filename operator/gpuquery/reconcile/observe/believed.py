"""Believed: whether the report of a pod can be about this job.

Its numbers and texts were checked when it was read. What only the job knows is where its output lies: a report that
names another table does not count.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.api.text import CUT, clean

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.observe.model import Attempt, Exit, Observed


def believed(job: GpuQueryJob, observed: Observed) -> Observed:
    """Return what was observed, without the reports that cannot be about this job."""
    data = f"{job.spec.output.folder}data/"
    return replace(
        observed,
        attempts=tuple(_of_attempt(attempt, data) for attempt in observed.attempts),
        runs=tuple(_of_attempt(run, data) for run in observed.runs),
    )


def _of_attempt(attempt: Attempt, data: str) -> Attempt:
    if not any(pod.exit and pod.exit.report and pod.exit.report.committed for pod in attempt.pods):
        return attempt
    return replace(
        attempt, pods=tuple(replace(pod, exit=_checked(pod.exit, data)) if pod.exit else pod for pod in attempt.pods)
    )


def _checked(end: Exit, data: str) -> Exit:
    report = end.report
    if report is None or report.committed is None or report.committed.uri == data:
        return end
    uri = report.committed.uri
    if uri.endswith(CUT) and data.startswith(uri.removesuffix(CUT)):
        # It was too long for a report.
        whole = report.committed.model_copy(update={"uri": data})
        return replace(end, report=report.model_copy(update={"committed": whole}))
    return replace(end, report=None, wrong=f"committed.uri is {clean(uri, 120)}, and this job writes {data}")
