"""Maxima: limits of a job and of a namespace, from Helm values and annotations of the namespace.

The annotation wins, whether it is higher or lower: people who may change a Namespace object are its administrators. A
job over a limit is refused, or waits, but is never silently made smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic.alias_generators import to_camel

from gpuquery.api.labels import (
    ANNOTATION_MAX_FINISHED_JOBS,
    ANNOTATION_MAX_GPUS,
    ANNOTATION_MAX_LIVE_JOBS,
    ANNOTATION_MAX_PODS,
)
from gpuquery.api.schema import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

PODS, GPUS, LIVE_JOBS, FINISHED_JOBS = (
    "pods_per_job", "gpus_per_job", "live_jobs_per_namespace", "finished_jobs_per_namespace",
)  # fmt: skip
ANNOTATIONS: Mapping[str, str] = {
    PODS: ANNOTATION_MAX_PODS,
    GPUS: ANNOTATION_MAX_GPUS,
    LIVE_JOBS: ANNOTATION_MAX_LIVE_JOBS,
    FINISHED_JOBS: ANNOTATION_MAX_FINISHED_JOBS,
}
MOST_DIGITS = 7


class Maxima(Model):
    """The administrator's limits, from the Helm values below `limits`."""

    pods_per_job: int = Field(default=256, ge=1)
    """Maximum pods of a job at a time, including those of its DaskCluster."""
    gpus_per_job: int = Field(default=1024, ge=0)
    """Maximum GPUs of a job at a time; 0: no GPUs."""
    live_jobs_per_namespace: int = Field(default=1000, ge=1)
    """Maximum accepted, unfinished jobs of a namespace; others wait."""
    finished_jobs_per_namespace: int = Field(default=1000, ge=0)
    """Maximum finished jobs of a namespace; older ones are deleted. 0: all are kept."""
    extended_resources: tuple[str, ...] = ()
    """Extended resources that jobs may name in workers.resources."""


@dataclass(frozen=True)
class Maximum:
    """A limit in a namespace."""

    value: int
    raised_by: str
    """What an administrator must change to raise it."""


def maximum(name: str, maxima: Maxima, annotations: Mapping[str, str], namespace: str) -> Maximum | str:
    """Return a limit by the name of its field, or the error in its annotation."""
    annotation = ANNOTATIONS[name]
    annotated = annotations.get(annotation)
    least = 1 if name in (PODS, LIVE_JOBS) else 0
    if annotated is None:
        value = f"the Helm value limits.{to_camel(name)}"
        known: int = getattr(maxima, name)
        return Maximum(known, f"{value} or the annotation {annotation} of the namespace")
    if not (annotated.isascii() and annotated.isdigit() and len(annotated) <= MOST_DIGITS and int(annotated) >= least):
        return (
            f'namespace "{namespace}": the annotation {annotation} is "{annotated}", which is not a whole number of at '
            f"least {least}: correct it (kubectl annotate --overwrite namespace)"
        )
    return Maximum(int(annotated), f'the annotation {annotation} of the namespace "{namespace}"')
