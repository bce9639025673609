"""`gpuquery plan`: what the operator would decide about a job, and what its preflight would find.

A job is resolved with the defaults of the cluster of kubectl's context, and the API server is asked whether it accepts
the job; if not, the job is refused here too. Without a cluster it is resolved with assumed defaults, and the output
says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.cli.cluster import Cluster, NoClusterError
from gpuquery.cli.jobfile import JobFile, JobFileError
from gpuquery.cli.show import remark, say
from gpuquery.cli.supposed import EVERY_IMAGE, overridden, resolved
from gpuquery.plan.cost import Cost, cost
from gpuquery.plan.plan import DaskWay, Language, Plan
from gpuquery.plan.resolve import plan_status

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from gpuquery.api.report import Report
    from gpuquery.api.status import PlanStatus, PreflightStatus
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults

SUPPOSED = "supposed, as those of an operator that changes none and has an image of every release"
NOT_RUN = (
    "the query's Python was not run, so what it makes of its inputs, whether the GPU engine can run it, and its sizes "
    "are not known: --run-code runs it here, with your rights; spec.dryRun: true runs it in a pod of the cluster"
)


@dataclass(frozen=True)
class Case:
    """A job and its defaults."""

    file: JobFile
    chosen: argparse.Namespace
    job: GpuQueryJob
    defaults: Defaults
    source: str
    """The source of the defaults, in a sentence."""
    asked: bool
    """Whether they are from a cluster."""
    remarks: tuple[str, ...] = ()

    def resolve(self, job: GpuQueryJob) -> Plan:
        """Resolve the job, or a changed copy of it."""
        return overridden(resolved(self.file, job, self.defaults, local=_is_local(job)), self.chosen)


@dataclass(frozen=True)
class Outlook:
    """The outcome for one job."""

    case: Case
    report: Report
    plan: PlanStatus
    """The plan with the sizes of the preflight; without them if it failed or did not run."""
    unchecked: tuple[str, ...] = ()
    cost: Cost | None = None

    @property
    def job(self) -> str:
        """Name of the job."""
        return self.case.job.metadata.name

    @property
    def good(self) -> bool:
        """Whether nothing prevents the job from running."""
        return self.report.succeeded

    @property
    def written(self) -> str:
        """What is written, and who makes the partitions of a GPU's result: the engines hand over whole files."""
        output = self.case.job.spec.output
        created = output.table.create if output.table else None
        keys = output.partition_by or (created.partition_by if created else ())
        if not keys or not self.plan.gpus:
            return output.words
        return f"{output.words}, partitioned on the CPU from the GPU engine's files"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        shown = {"mode": "json", "by_alias": True, "exclude_none": True}
        document: dict[str, Any] = {"job": self.job, "good": self.good, "plan": self.plan.model_dump(**shown)}  # type: ignore[arg-type]
        document |= {k: v for k, v in self.report.model_dump(**shown).items() if v and k != "finished"}  # type: ignore[arg-type]
        document["output"] = self.written
        if expect := self.case.job.spec.output.expect:
            document["expect"] = [expectation.words for expectation in expect]
        document["defaults"] = {"cluster": self.case.asked, "source": self.case.source}
        document |= {k: list(v) for k, v in (("remarks", self.case.remarks), ("unchecked", self.unchecked)) if v}
        if self.cost:
            document["cost"] = {
                "gpus": self.cost.gpus,
                "seconds": self.cost.seconds,
                "gpuHours": round(self.cost.gpu_hours, 3),
                "basis": self.cost.basis,
            }
        return document


def considered(file: JobFile, chosen: argparse.Namespace) -> list[Case]:
    """Resolve every job and have the cluster check it; raises JobFileError with all refusals."""
    cluster = _cluster(chosen)
    cases: list[Case] = []
    problems: list[str] = []
    for job, sent in zip(file.jobs, file.documents, strict=True):
        try:
            case = _case(file, job, sent, chosen, cluster)
            case.resolve(case.job)
            cases.append(case)
        except JobFileError as error:
            problems += error.problems
    if problems:
        raise JobFileError(problems)
    return cases


def _cluster(chosen: argparse.Namespace) -> Cluster | str:
    """Return the cluster to ask, or why there is none."""
    if chosen.no_cluster:
        return "--no-cluster"
    try:
        return Cluster(chosen.context)
    except NoClusterError as error:
        if chosen.context:
            raise JobFileError([str(error)]) from None
        return f"no cluster was asked: {error}"


def _case(
    file: JobFile, job: GpuQueryJob, sent: Mapping[str, Any], chosen: argparse.Namespace, cluster: Cluster | str
) -> Case:
    if chosen.release:
        job, sent = _of_release(job, chosen.release), _sent_of_release(sent, chosen.release)
    if isinstance(cluster, str) or _is_local(job):
        only = "its file:// places are for `gpuquery run` alone: no pod has such files"
        source = f"{SUPPOSED} ({cluster if isinstance(cluster, str) else only})"
        return Case(file, chosen, job, EVERY_IMAGE, source, asked=False)
    if "namespace" not in job.metadata.model_fields_set:
        job = job.model_copy(update={"metadata": job.metadata.model_copy(update={"namespace": cluster.namespace})})
    namespace = job.metadata.namespace
    ground = cluster.ground(namespace)
    remarks = ground.remarks
    if ground.answered:
        refusal, note = cluster.judged(namespace, sent)
        if refusal:
            raise JobFileError([f"{file.path}: {job.metadata.name}: {refusal}"])
        remarks += (note,) if note else ()
    defaults, told = ground.defaults, ground.source
    if defaults is None:
        defaults, told = EVERY_IMAGE, f"{SUPPOSED} ({ground.source})"
    return Case(file, chosen, job, defaults, told, asked=ground.defaults is not None, remarks=remarks)


def _is_local(job: GpuQueryJob) -> bool:
    read = (uri for item in job.spec.inputs for uri in item.places)
    return any(uri.startswith("file://") for uri in (*read, *job.spec.output.places))


def outlook(case: Case, *, runs_code: bool) -> Outlook:
    """Resolve, check, and resolve again with the results."""
    from gpuquery.runner import local

    job, defaults = case.job, case.defaults
    first = case.resolve(job)
    report = local.preflight(first, runs_code=runs_code)
    unchecked = (NOT_RUN,) if first.language is Language.PYTHON and not runs_code else ()
    if report.preflight is None or unchecked:
        return Outlook(case, report, plan_status(first, job, defaults), unchecked if report.succeeded else ())
    known = job.model_copy(update={"status": job.status.model_copy(update={"preflight": report.preflight})})
    final = case.resolve(known)
    client = final.dask is not None and final.dask.way is not DaskWay.NATIVE
    spent = cost(report.preflight, workers=final.workers, idle=1 if client else 0)
    return Outlook(case, report, plan_status(final, known, defaults), (), spent)


def _of_release(job: GpuQueryJob, release: str) -> GpuQueryJob:
    runtime = job.spec.runtime.model_copy(update={"release": release})
    return job.model_copy(update={"spec": job.spec.model_copy(update={"runtime": runtime})})


def _sent_of_release(sent: Mapping[str, Any], release: str) -> Mapping[str, Any]:
    spec = sent["spec"]
    return {**sent, "spec": {**spec, "runtime": {**(spec.get("runtime") or {}), "release": release}}}


def show(outlooks: list[Outlook], *, as_json: bool) -> None:
    """Print them; errors that prevent a job from running go to standard error."""
    if as_json:
        print(json.dumps([one.as_json() for one in outlooks], indent=2))
        return
    for one in outlooks:
        say(one.job)
        for name, text in _lines(one):
            say(f"  {name:<9} {text}")
        if not one.good:
            remark(f"{one.job}: {one.report.failure}: {one.report.message}")


def _lines(one: Outlook) -> Iterator[tuple[str, str]]:
    yield "plan", one.plan.why
    yield "defaults", one.case.source
    if one.plan.sizing:
        yield "sizing", one.plan.sizing
    for note in (one.plan.deprecated, one.plan.default_changes, *one.case.remarks):
        if note:
            yield "note", note
    found = one.report.preflight
    if found is None:
        yield "checks", f"failed: {one.report.failure}"
        return
    yield "checks", "passed" + (f" with Polars {found.polars}" if found.polars else "")
    for part in one.unchecked:
        yield "unchecked", part
    for read in one.report.inputs:
        files = "1 file" if read.files == 1 else f"{read.files:,} files"
        yield "read", f"{read.name}: {files}, {_bytes(read.bytes)}, {read.snapshot or f'digest {read.digest}'}"
    yield from _sizes(found)
    if (reuse := one.report.reuse) is not None:
        yield "reuse", f"the commit of job {reuse.job}" if reuse.reused else f"nothing: {reuse.differs}"
    yield "write", one.written
    for expectation in one.case.job.spec.output.expect or ():
        yield "expect", expectation.words
    for part in found.fallbacks:
        yield "fallback", f"{part}: on one partition whatever the number of GPUs"
    for warning in found.warnings:
        yield "warning", warning
    if one.cost:
        minutes = one.cost.seconds / 60
        gpus = "1 GPU" if one.cost.gpus == 1 else f"{one.cost.gpus} GPUs"
        yield "cost", f"about {one.cost.gpu_hours:.2f} GPU-hours: {gpus} for {minutes:.0f} min"
        yield "", one.cost.basis
    else:
        yield "cost", "unknown: the sizes are not known" if one.plan.gpus else "no GPU"


def _sizes(found: PreflightStatus) -> list[tuple[str, str]]:
    if not found.files:
        return [("input", found.basis or "sizes are not known")]
    bound = "reading" if found.io_bound else "computing"
    return [
        ("input", f"{found.files:,} files with {found.rows:,} rows, {_bytes(found.input_bytes)} in memory"),
        ("held", f"{_bytes(found.peak_bytes)} at a time; {bound} is expected to take longer"),
        ("basis", found.basis),
    ]


def _bytes(count: int) -> str:
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,} bytes"
