"""Devices: which resources a job may name in `workers.resources`.

Jobs request GPUs with `workers.gpus` and network devices with `network`, so that the plan shows what a job holds and
every limit counts it. Any other resource with a domain in its name may be a device too (a slice of a GPU, the same GPUs
from another plugin), so only those that the administrator lists are allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.choices import NetworkChoice
from gpuquery.api.combinations import WITH_GPU
from gpuquery.plan.rejected import Rejected, invalid, together

if TYPE_CHECKING:
    from collections.abc import Collection

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.choice import Choice
    from gpuquery.plan.defaults import Defaults

PLAIN = ("cpu", "memory", "ephemeral-storage")
HUGE_PAGES = "hugepages-"


def plain(name: str) -> bool:
    """Whether a resource is CPU, memory or scratch space, not a device."""
    return name in PLAIN or name.startswith(HUGE_PAGES)


def refused(job: GpuQueryJob, choice: Choice, defaults: Defaults) -> Rejected | None:
    """Refuse devices that bypass the fields of the spec."""
    own = job.spec.workers.resources
    return together(*(
        _refused(name, f"workers.resources.{part} names {name}", job, choice, defaults)
        for part, amounts in (("requests", own.requests), ("limits", own.limits))
        for name in amounts
        if not plain(name) and (part == "limits" or name not in own.limits)
    ))  # fmt: skip


def strangers(names: Collection[str]) -> list[str]:
    """Return the resources that no pod may get by default."""
    return sorted(name for name in names if not plain(name))


def _refused(name: str, reason: str, job: GpuQueryJob, choice: Choice, defaults: Defaults) -> Rejected | None:
    if name == defaults.gpu_resource:
        if not choice.gpus:
            return invalid(
                f"{reason}, and the query runs on the CPU: remove it, or use {WITH_GPU} and say in "
                "workers.gpus how many each pod gets"
            )
        return invalid(f"{reason}: remove it, and say in workers.gpus how many each pod gets")
    if name == defaults.rdma_resource:
        if job.spec.network is NetworkChoice.RDMA:
            return None
        return invalid(f'{reason}, and network is "{job.spec.network}": remove it, or use network "rdma"')
    if name in defaults.maxima.extended_resources:
        return None
    return invalid(
        f"{reason}, which may be a device: remove it (GPUs come by workers.gpus), or ask the administrator to add it "
        "to the Helm value limits.extendedResources"
    )
