"""A plan for a job of a file: resolved as by the operator, with the defaults of a cluster or assumed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.cli.jobfile import JobFile, JobFileError
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.resolve import Rejected, resolve
from gpuquery.plan.select.request import Request, request_of

if TYPE_CHECKING:
    import argparse

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.plan import Plan

IMAGE_PATTERN = "gpuquery-runtime-{release}-cu12"
"""Image of a RAPIDS release if no operator is asked."""
EVERY_IMAGE = Defaults(runtime_image_pattern=IMAGE_PATTERN, dask_operator=True, dask_attach=True)
"""Defaults of an operator without changes, with an image of every release."""


def defaults_for(job: GpuQueryJob) -> Defaults:
    """Return assumed defaults of an operator: it has images if the job needs one."""
    request = request_of(job, Defaults())
    needed = isinstance(request, Request) and request.gpu
    if needed or job.spec.runtime.release:
        return EVERY_IMAGE
    return EVERY_IMAGE.model_copy(update={"runtime_image_pattern": ""})


def resolved(file: JobFile, job: GpuQueryJob, defaults: Defaults | None = None, *, local: bool = True) -> Plan:
    """Resolve a job; raises JobFileError if it is rejected."""
    plan = resolve(job, defaults or defaults_for(job), file.query_text(job), local=local)
    if isinstance(plan, Rejected):
        where = f"{file.path}: {job.metadata.name}"
        raise JobFileError([f"{where}: {part.reason}: {part.message}" for part in plan.parts or (plan,)])
    return plan


def overridden(plan: Plan, chosen: argparse.Namespace) -> Plan:
    """Override the job with the arguments."""
    store = plan.store
    if chosen.endpoint:
        store = store.model_copy(update={"endpoint": chosen.endpoint, "path_style": True})
    if chosen.region:
        store = store.model_copy(update={"region": chosen.region})
    uid = getattr(chosen, "uid", None)
    job = plan.job.model_copy(update={"uid": uid}) if uid else plan.job
    return plan.model_copy(update={"store": store, "job": job})
