"""Believed: whether the report of a pod can be about this job.

Its numbers and texts were checked when it was read. What only the job knows is where its output lies: a report that
names another table does not count.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuquery.api.output import OutputFormat
from gpuquery.api.text import CUT, clean

if TYPE_CHECKING:
    from gpuquery.api.output import Output
    from gpuquery.api.status import OutputStatus
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.reconcile.observe.model import Attempt, Exit, Observed


def believed(job: GpuQueryJob, observed: Observed) -> Observed:
    """Return what was observed, without the reports that cannot be about this job."""
    output = job.spec.output
    return replace(
        observed,
        attempts=tuple(_of_attempt(attempt, output) for attempt in observed.attempts),
        runs=tuple(_of_attempt(run, output) for run in observed.runs),
    )


def _of_attempt(attempt: Attempt, output: Output) -> Attempt:
    if not any(pod.exit and pod.exit.report and pod.exit.report.committed for pod in attempt.pods):
        return attempt
    return replace(
        attempt, pods=tuple(replace(pod, exit=_checked(pod.exit, output)) if pod.exit else pod for pod in attempt.pods)
    )


def _checked(end: Exit, output: Output) -> Exit:
    report = end.report
    if report is None or report.committed is None:
        return end
    told, place = report.committed, output.published
    if wrong := _no_commit_of(output, told):
        return replace(end, report=None, wrong=wrong)
    if told.uri == place:
        return end
    if told.uri.endswith(CUT) and place.startswith(told.uri.removesuffix(CUT)):
        # It was too long for a report.
        whole = told.model_copy(update={"uri": place})
        return replace(end, report=report.model_copy(update={"committed": whole}))
    return replace(end, report=None, wrong=f"committed.uri is {clean(told.uri, 120)}, and this job writes {place}")


def _no_commit_of(output: Output, told: OutputStatus) -> str:
    """Return what is wrong with the number of a commit; empty if nothing is. Delta counts from 0."""
    match output.format:
        case OutputFormat.ICEBERG if told.version is not None:
            return f"committed.version is {told.version}, and a commit to an Iceberg table is a snapshot"
        case OutputFormat.HIVE | OutputFormat.DELTA if told.version is None:
            return f"committed.snapshot is {told.snapshot}, and a commit to {output.shown} is a version"
        case OutputFormat.HIVE if told.version == 0:
            return "committed.version is 0, and the first version of a folder is 1"
    return ""
