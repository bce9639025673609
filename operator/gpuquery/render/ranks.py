"""What a set of ranks has in addition to one process: a token, shared memory, variables of UCX. Pure.

Sources: transports and RAPIDS_LIBUCX_PREFER_SYSTEM_LIBRARY from the wheels of libucx-cu12 (`libucx/load.py`; they hold
tcp, shm and cuda, and no InfiniBand); LIBCUDF_KERNEL_CACHE_PATH from libcudf 26.10; the host name `<job>-<index>` of an
Indexed Job's pods from Kubernetes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.api import quantity
from gpuquery.api.labels import SCRATCH_DIRECTORY, TOKEN_DIRECTORY, TOKEN_KEY
from gpuquery.plan.plan import Network

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

Manifest = dict[str, Any]

TO_COME = ""
"""Placeholder until the Secret is created: building is pure, so the token is generated at creation."""
TOKEN_VOLUME = "token"  # noqa: S105
"""The volume with the token. Rendered sets of ranks are recognised by it."""
OWNER_AND_GROUP_READ = 0o440


def secret(metadata: Manifest) -> Manifest:
    """Build the Secret with which the pods of an attempt authenticate, with a placeholder for the token."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "immutable": True,
        "stringData": {TOKEN_KEY: TO_COME},
    }


def token_volume(name: str) -> Manifest:
    """Build the volume with the token: a file that the pod's user can read through its group, `fsGroup`."""
    return {"name": TOKEN_VOLUME, "secret": {"secretName": name, "defaultMode": OWNER_AND_GROUP_READ}}


def token_mount() -> Manifest:
    """Build the mount of that volume."""
    return {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIRECTORY, "readOnly": True}


def addresses(attempt: str) -> list[Manifest]:
    """Return the variables with the pod's name and the address of index 0.

    The coordinator's address is relative to the namespace, so that the resolver's first try finds it.
    """
    return [
        {"name": "GPUQUERY_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "GPUQUERY_HUB", "value": f"{attempt}-0.{attempt}"},
    ]


def presets(network: Network) -> Mapping[str, str]:
    """Return variables of UCX and CUDA for a network; the job's own override them.

    With `auto` UCX chooses its transports itself. Caches of compiled kernels go to scratch, because the root file
    system is read-only.
    """
    caches = {
        "CUDA_CACHE_PATH": f"{SCRATCH_DIRECTORY}/.cache/cuda",
        "LIBCUDF_KERNEL_CACHE_PATH": f"{SCRATCH_DIRECTORY}/.cache/cudf",
    }
    match network:
        case Network.TCP:
            return {**caches, "UCX_TLS": "tcp,cuda_copy,cuda_ipc,sm,self"}
        case Network.RDMA:
            # UCX of the wheels cannot do InfiniBand; the image's own can, if it has one.
            return {**caches, "RAPIDS_LIBUCX_PREFER_SYSTEM_LIBRARY": "true"}
        case _:
            return caches


def shared_memory(gpus: int, per_gpu: str, memory_limit: str | None) -> str:
    """Return the size of /dev/shm: a fixed amount for each GPU, at most half of the memory limit, against which it
    counts.

    UCX exchanges rows between the ranks of a pod there, and the default of 64 MiB is too small.
    """
    wanted = quantity.amount(per_gpu) * max(1, gpus)
    if memory_limit is not None:
        wanted = min(wanted, quantity.amount(memory_limit) / 2)
    return _binary(wanted)


def _binary(amount: Decimal) -> str:
    whole = int(amount)
    for unit in ("Gi", "Mi", "Ki"):
        scale = int(quantity.SCALES[unit])
        if whole and whole % scale == 0:
            return f"{whole // scale}{unit}"
    return str(whole)
