"""Ranks: which plans run as a set of ranks, and what only a distributed query can have.

A set of ranks is one process for each GPU, all of which run the same query (`Way.SPMD` of the release table on a
distributed cluster, where no Dask cluster is asked for). A native Dask cluster has one process in each pod. Everything
else is one process as far as pods and their objects are concerned.
"""

from __future__ import annotations

from gpuquery.api.choices import ClusterChoice, NetworkChoice
from gpuquery.api.dask import DaskSpec
from gpuquery.api.types import GpuQueryJob
from gpuquery.plan import dask, releases
from gpuquery.plan.choice import Choice
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import DaskWay, Processes
from gpuquery.plan.rejected import Rejected, invalid

LEAST_STALL_SECONDS = 10
"""A word of progress goes from a rank over its supervisor to index 0, each of which speaks once a second, and may come
after a pause of six."""


def processes(choice: Choice, asked: DaskSpec | None) -> Processes:
    """Return of which processes an attempt is made; `asked` is the spec's Dask cluster."""
    known = releases.find(choice.release) if choice.release else None
    if known is None or choice.cluster is not ClusterChoice.DISTRIBUTED:
        return Processes.ONE
    if dask.on_dask(known, choice, asked):
        return Processes.PODS if dask.way_of(asked) is DaskWay.NATIVE else Processes.ONE
    cell = known.cells.get((choice.engine, choice.cluster))
    return Processes.RANKS if cell is not None and cell.way is releases.Way.SPMD else Processes.ONE


def stall_seconds(job: GpuQueryJob, processes: Processes, defaults: Defaults) -> float:
    """Return after how many seconds without progress a set is ended, by the job or else the operator; 0: never."""
    if processes is Processes.ONE:
        return 0
    asked = job.spec.workers.stall_seconds
    return defaults.stall_seconds if asked is None else asked


def refused(job: GpuQueryJob, choice: Choice, defaults: Defaults) -> Rejected | None:
    """Refuse a network, a limit or devices that the chosen shape or this operator cannot have."""
    network = job.spec.network
    if network is not NetworkChoice.AUTO and choice.cluster is not ClusterChoice.DISTRIBUTED:
        return invalid(
            f'network is "{network}", and the query runs as {choice.engine} x {choice.cluster}, one process, which '
            'exchanges no rows: remove network, or use cluster "distributed"'
        )
    stall = job.spec.workers.stall_seconds
    if stall is not None and processes(choice, job.spec.dask) is Processes.ONE:
        elsewhere = " on a Dask cluster that is not in its own pods" if job.spec.dask is not None else ""
        return invalid(
            f"workers.stallSeconds is {stall}, and the query runs as {choice.engine} x {choice.cluster}{elsewhere}, "
            "which is no set of processes that could be seen to wait for each other: remove it, or bound the job with "
            "activeDeadlineSeconds"
        )
    if stall and stall < LEAST_STALL_SECONDS:
        return invalid(
            f"workers.stallSeconds is {stall}, which is too short to hear of progress: use {LEAST_STALL_SECONDS} or "
            "more, or 0 for no limit"
        )
    if network is NetworkChoice.RDMA and not defaults.rdma_resource:
        return invalid(
            'network is "rdma", and this operator does not know by which resource pods get RDMA devices: use network '
            '"auto" or "tcp", or ask the administrator to set the Helm value rdma.resource, such as '
            "rdma/hca_shared_devices_a"
        )
    for claim in job.spec.template.spec.resource_claims:
        if claim.gpus and claim.resource_claim_name and choice.replicas > 1:
            return invalid(
                f'template.spec.resourceClaims["{claim.name}"].resourceClaimName is "{claim.resource_claim_name}", one '
                f"claim for all of {choice.replicas} pods, whose GPUs are on different nodes: use "
                "resourceClaimTemplateName, or workers.replicas of 1"
            )
    return None
