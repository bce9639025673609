"""Ranks: which plans run as a set of ranks, and what only a distributed query can have.

A set of ranks is one process for each GPU, all running the same query (`Way.SPMD` of the release table on a distributed
cluster, without a Dask cluster). A native Dask cluster has one process in each pod. Everything else is a single
process, as far as pods and their objects are concerned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.choices import ClusterChoice, NetworkChoice
from gpuquery.api.timing import LEAST_STALL_SECONDS
from gpuquery.plan import releases
from gpuquery.plan.dask import layout
from gpuquery.plan.plan import DaskWay, Processes
from gpuquery.plan.rejected import Rejected, invalid, together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.api.dask import DaskSpec
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.choice import Choice
    from gpuquery.plan.defaults import Defaults


def processes(choice: Choice, asked: DaskSpec | None) -> Processes:
    """Return which processes an attempt runs; `asked` is the spec's Dask cluster."""
    known = releases.find(choice.release) if choice.release else None
    if known is None or choice.cluster is not ClusterChoice.DISTRIBUTED:
        return Processes.ONE
    if layout.on_dask(known, choice, asked):
        return Processes.PODS if layout.way_of(asked) is DaskWay.NATIVE else Processes.ONE
    cell = known.cells.get((choice.engine, choice.cluster))
    return Processes.RANKS if cell is not None and cell.way is releases.Way.SPMD else Processes.ONE


def stall_seconds(job: GpuQueryJob, processes: Processes, defaults: Defaults) -> float:
    """Return the seconds without progress after which a query is ended, from the job or the operator; 0: never.

    The client of a cluster in other pods does nothing while that works.
    """
    if processes is Processes.ONE and job.spec.dask is not None:
        return 0
    asked = job.spec.workers.stall_seconds
    return defaults.stall_seconds if asked is None else asked


def refused(job: GpuQueryJob, choice: Choice, defaults: Defaults) -> Rejected | None:
    """Refuse a network, a limit and devices that the chosen shape or this operator does not support."""
    return together(*map(invalid, _refused(job, choice, defaults)))


def _refused(job: GpuQueryJob, choice: Choice, defaults: Defaults) -> Iterator[str]:
    network = job.spec.network
    if network is not NetworkChoice.AUTO and choice.cluster is not ClusterChoice.DISTRIBUTED:
        yield (
            f'network is "{network}", and the query runs as {choice.engine} x {choice.cluster}, one process, which '
            'exchanges no rows: remove network, or use cluster "distributed"'
        )
    stall = job.spec.workers.stall_seconds
    if stall is not None and job.spec.dask is not None and processes(choice, job.spec.dask) is Processes.ONE:
        yield (
            f"workers.stallSeconds is {stall}, and the query runs as {choice.engine} x {choice.cluster} on a Dask "
            "cluster outside of its own pods, whose processes cannot be watched: remove it, or limit the job with "
            "activeDeadlineSeconds"
        )
    elif stall and stall < LEAST_STALL_SECONDS:
        yield (
            f"workers.stallSeconds is {stall}, which is too short for reports of progress: use {LEAST_STALL_SECONDS} "
            "or more, or 0 for no limit"
        )
    if network is NetworkChoice.RDMA and not defaults.rdma_resource:
        yield (
            'network is "rdma", and this operator does not know the resource of RDMA devices: use network '
            '"auto" or "tcp", or ask the administrator to set the Helm value rdma.resource, such as '
            "rdma/hca_shared_devices_a"
        )
    for claim in job.spec.template.spec.resource_claims:
        if claim.gpus and claim.resource_claim_name and choice.replicas > 1:
            yield (
                f'template.spec.resourceClaims["{claim.name}"].resourceClaimName is "{claim.resource_claim_name}", one '
                f"claim for all of {choice.replicas} pods, whose GPUs are on different nodes: use "
                "resourceClaimTemplateName, or workers.replicas of 1"
            )
