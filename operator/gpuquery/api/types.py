"""The GpuQueryJob: the single source of `crds/`, of the API reference and of all validation.

Its spec and its status have a module each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field

from gpuquery.api.dask import DaskBackend
from gpuquery.api.labels import API_VERSION, KIND, MAX_DASK_NAME_LENGTH, MAX_NAME_LENGTH
from gpuquery.api.schema import Lenient, Model, Rule
from gpuquery.api.spec import HOST_NAME, GpuQueryJobSpec
from gpuquery.api.status import GpuQueryJobStatus


class ObjectMeta(Lenient):
    """The part of an object's metadata that is used."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 1
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class GpuQueryJob(Model):
    """A query, its inputs and the place of its output: run once on its own cluster and committed atomically."""

    api_version: Annotated[str, Field(pattern=f"^{API_VERSION}$")] = API_VERSION
    kind: Annotated[str, Field(pattern=f"^{KIND}$")] = KIND
    metadata: ObjectMeta
    spec: GpuQueryJobSpec
    """What to run."""
    status: GpuQueryJobStatus = GpuQueryJobStatus()
    """The observed state."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.metadata.name.size() <= {MAX_NAME_LENGTH}",
            lambda self: len(self.metadata.name) <= MAX_NAME_LENGTH,
            f"metadata.name may have at most {MAX_NAME_LENGTH} characters: pods get longer names from it",
        ),
        Rule(
            f"self.metadata.name.matches('{HOST_NAME}')",
            lambda self: bool(re.search(HOST_NAME, self.metadata.name)),
            "metadata.name must be lower-case letters, digits and '-', and begin with a letter: it becomes a host name",
        ),
        Rule(
            "!(has(self.spec.dask) && has(self.spec.dask.backend) && self.spec.dask.backend == 'operator') || "
            f"self.metadata.name.size() <= {MAX_DASK_NAME_LENGTH}",
            lambda self: (
                self.spec.dask is None
                or self.spec.dask.backend is not DaskBackend.OPERATOR
                or len(self.metadata.name) <= MAX_DASK_NAME_LENGTH
            ),
            f'metadata.name may have at most {MAX_DASK_NAME_LENGTH} characters with dask.backend "operator": a '
            "DaskCluster gets a longer name from it, and may have 53",
        ),
    )
