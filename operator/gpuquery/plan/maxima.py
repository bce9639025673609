"""Maxima: what a job and a namespace may have at most, by Helm value and by annotation of the namespace.

The annotation wins, whether it is higher or lower: who may change a Namespace object is an administrator of it. What is
over a maximum is refused, or waits, but never quietly made smaller.
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
    """What the administrator allows, from the Helm values below `limits`."""

    pods_per_job: int = Field(default=256, ge=1)
    """Most pods that a job may have at a time, those of its DaskCluster too."""
    gpus_per_job: int = Field(default=1024, ge=0)
    """Most GPUs that a job may have at a time; 0: none has any."""
    live_jobs_per_namespace: int = Field(default=1000, ge=1)
    """Most jobs of a namespace that are accepted and have not ended; others wait."""
    finished_jobs_per_namespace: int = Field(default=1000, ge=0)
    """Most finished jobs of a namespace that are kept; the oldest others are deleted. 0: all are kept."""
    extended_resources: tuple[str, ...] = ()
    """Extended resources that jobs may name in workers.resources."""


@dataclass(frozen=True)
class Maximum:
    """One of them, as it holds in a namespace."""

    value: int
    raised_by: str
    """What an administrator has to change to raise it."""


def maximum(name: str, maxima: Maxima, annotations: Mapping[str, str], namespace: str) -> Maximum | str:
    """Return a maximum by the name of its field, or what is wrong with its annotation."""
    annotation = ANNOTATIONS[name]
    said = annotations.get(annotation)
    least = 1 if name in (PODS, LIVE_JOBS) else 0
    if said is None:
        value = f"the Helm value limits.{to_camel(name)}"
        known: int = getattr(maxima, name)
        return Maximum(known, f"{value} or the annotation {annotation} of the namespace")
    if not (said.isascii() and said.isdigit() and len(said) <= MOST_DIGITS and int(said) >= least):
        return (
            f'namespace "{namespace}": the annotation {annotation} is "{said}", which is no whole number from {least} '
            "on: correct it (kubectl annotate --overwrite namespace)"
        )
    return Maximum(int(said), f'the annotation {annotation} of the namespace "{namespace}"')
