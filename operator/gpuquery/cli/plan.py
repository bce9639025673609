"""`gpuquery plan`: what the operator would decide about a job and what its preflight would find, told here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.cli.show import remark
from gpuquery.plan.cost import Cost, cost
from gpuquery.plan.resolve import plan_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.api.report import Report
    from gpuquery.api.status import PlanStatus, PreflightStatus
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults
    from gpuquery.plan.plan import DaskWay, Plan


@dataclass(frozen=True)
class Outlook:
    """What would become of one job."""

    job: str
    report: Report
    plan: PlanStatus
    """The plan with the sizes that the preflight found; without them if it failed."""
    cost: Cost | None = None

    @property
    def good(self) -> bool:
        """Whether nothing was found that keeps it from running."""
        return self.report.succeeded

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        shown = {"mode": "json", "by_alias": True, "exclude_none": True}
        document: dict[str, Any] = {"job": self.job, "good": self.good, "plan": self.plan.model_dump(**shown)}  # type: ignore[arg-type]
        document |= {k: v for k, v in self.report.model_dump(**shown).items() if v and k != "finished"}  # type: ignore[arg-type]
        if self.cost:
            document["cost"] = {
                "gpus": self.cost.gpus,
                "seconds": self.cost.seconds,
                "gpuHours": round(self.cost.gpu_hours, 3),
                "basis": self.cost.basis,
            }
        return document


def outlook(job: GpuQueryJob, defaults: Defaults, resolved: Callable[[GpuQueryJob], Plan]) -> Outlook:
    """Resolve, check, and resolve again with what was found."""
    from gpuquery.runner import local

    first = resolved(job)
    report = local.preflight(first)
    name = job.metadata.name
    if report.preflight is None:
        return Outlook(name, report, plan_status(first, job, defaults))
    known = job.model_copy(update={"status": job.status.model_copy(update={"preflight": report.preflight})})
    final = resolved(known)
    client = final.dask is not None and final.dask.way is not DaskWay.NATIVE
    spent = cost(report.preflight, workers=final.workers, idle=1 if client else 0)
    return Outlook(name, report, plan_status(final, known, defaults), spent)


def of_release(job: GpuQueryJob, release: str | None) -> GpuQueryJob:
    """Return the job with another `runtime.release`."""
    if release is None:
        return job
    runtime = job.spec.runtime.model_copy(update={"release": release})
    return job.model_copy(update={"spec": job.spec.model_copy(update={"runtime": runtime})})


def show(outlooks: list[Outlook], *, as_json: bool) -> None:
    """Print them; findings that keep a job from running go to standard error."""
    if as_json:
        print(json.dumps([one.as_json() for one in outlooks], indent=2))
        return
    for one in outlooks:
        print(one.job)
        for name, text in _lines(one):
            print(f"  {name:<9} {text}")
        if not one.good:
            remark(f"{one.job}: {one.report.failure}: {one.report.message}")


def _lines(one: Outlook) -> list[tuple[str, str]]:
    lines = [("plan", one.plan.why)]
    if one.plan.sizing:
        lines.append(("sizing", one.plan.sizing))
    lines += [("note", note) for note in (one.plan.deprecated, one.plan.default_changes) if note]
    found = one.report.preflight
    if found is None:
        return [*lines, ("checks", f"failed: {one.report.failure}")]
    lines.append(("checks", "passed" + (f" with Polars {found.polars}" if found.polars else "")))
    lines += _sizes(found)
    lines += [("fallback", f"{part}: on one partition whatever the number of GPUs") for part in found.fallbacks]
    lines += [("warning", warning) for warning in found.warnings]
    if one.cost:
        minutes = one.cost.seconds / 60
        gpus = "1 GPU" if one.cost.gpus == 1 else f"{one.cost.gpus} GPUs"
        lines.append(("cost", f"about {one.cost.gpu_hours:.2f} GPU-hours: {gpus} for {minutes:.0f} min"))
        lines.append(("", one.cost.basis))
    else:
        lines.append(("cost", "unknown: the sizes are not known" if one.plan.gpus else "no GPU"))
    return lines


def _sizes(found: PreflightStatus) -> list[tuple[str, str]]:
    if not found.files:
        return [("input", found.basis or "no files")]
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
