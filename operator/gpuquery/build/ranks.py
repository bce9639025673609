"""What a set of ranks has beyond one process: a token, a network policy, shared memory, variables of UCX. Pure.

Sources of what is not ours: transports and RAPIDS_LIBUCX_PREFER_SYSTEM_LIBRARY from the wheels of libucx-cu12
(`libucx/load.py`; they hold tcp, shm and cuda, and no InfiniBand); LIBCUDF_KERNEL_CACHE_PATH from libcudf 26.10; the
host name `<job>-<index>` of an Indexed Job's pods from Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from gpuquery.api import quantity
from gpuquery.api.labels import (
    LABEL_ATTEMPT,
    LABEL_COMPONENT,
    LABEL_JOB_UID,
    LABEL_NAME,
    PROGRESS_PORT,
    SCRATCH_DIRECTORY,
    TOKEN_DIRECTORY,
    TOKEN_KEY,
)
from gpuquery.api.types import GpuQueryJob
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import Network, Plan

Manifest = dict[str, Any]

TO_COME = ""
"""What stands for the token until the Secret is created: building is pure, and whoever creates it draws the token."""
TOKEN_VOLUME = "token"  # noqa: S105
"""The volume by which the pods of a set of ranks are known."""
OWNER_AND_GROUP_READ = 0o440
OPERATOR = {LABEL_NAME: "gpuquery", LABEL_COMPONENT: "operator"}
"""Labels of the operator's pods, as the chart sets them."""
DNS_PORTS = (53, 5353)
"""Policies see the port behind a Service: OpenShift's DNS listens on 5353."""
STORAGE_PORTS = (80, 443)
HOSTS = (("0.0.0.0/0", "169.254.0.0/16"), ("::/0", "fd00:ec2::/32"))
"""All addresses, and those of metadata services, which hand out the node's own credentials."""
GKE_METADATA = ("127.0.0.1/32", "169.254.169.252/32")
"""Where GKE's metadata server listens on the node behind 169.254.169.254:80, for Workload Identity."""
GKE_METADATA_PORT = 988


def secret(metadata: Manifest) -> Manifest:
    """Build the Secret by which the pods of one attempt know each other; its token is still to come."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "immutable": True,
        "stringData": {TOKEN_KEY: TO_COME},
    }


def network_policy(plan: Plan, job: GpuQueryJob, defaults: Defaults, metadata: Manifest) -> Manifest:
    """Build the policy of an attempt's pods: among themselves everything, from outside what the operator reads, to the
    outside names and storage.
    """
    own: Manifest = {"podSelector": {"matchLabels": {LABEL_JOB_UID: plan.job.uid, LABEL_ATTEMPT: str(plan.attempt)}}}
    operator: Manifest = {"namespaceSelector": _namespace(defaults.operator_namespace)}
    operator["podSelector"] = {"matchLabels": dict(OPERATOR)}
    readers = [operator, *({"namespaceSelector": _namespace(name)} for name in defaults.scrape_namespaces)]
    identity = job.spec.storage.service_account_name is not None
    egress: list[Manifest] = [
        {"to": [own]},
        {"ports": [_port(port, protocol) for port in DNS_PORTS for protocol in ("UDP", "TCP")]},
        {"to": _anywhere(metadata_too=identity), "ports": [_port(p) for p in _storage_ports(plan, defaults)]},
    ]
    if identity:
        egress.append(
            {"to": [{"ipBlock": {"cidr": cidr}} for cidr in GKE_METADATA], "ports": [_port(GKE_METADATA_PORT)]}
        )
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            **own,
            "policyTypes": ["Ingress", "Egress"],
            # The kubelet's probes come from the node, which no policy keeps out.
            "ingress": [{"from": [own]}, {"from": readers, "ports": [_port(PROGRESS_PORT)]}],
            "egress": egress,
        },
    }


def _namespace(name: str) -> Manifest:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}} if name else {}


def _port(number: int, protocol: str = "TCP") -> Manifest:
    return {"port": number, "protocol": protocol}


def _storage_ports(plan: Plan, defaults: Defaults) -> Iterable[int]:
    endpoint = urlsplit(plan.store.endpoint or "")
    return sorted({*STORAGE_PORTS, *defaults.storage_ports, *([endpoint.port] if endpoint.port else [])})


def _anywhere(*, metadata_too: bool) -> list[Manifest]:
    """All hosts, and all pods: some network plugins take a block of addresses for hosts outside the cluster alone."""
    blocks = [{"cidr": every} if metadata_too else {"cidr": every, "except": [local]} for every, local in HOSTS]
    return [{"namespaceSelector": {}}, *({"ipBlock": block} for block in blocks)]


def token_volume(name: str) -> Manifest:
    """Build the volume with the token: a file that the pod's user reads by its group, `fsGroup`."""
    return {"name": TOKEN_VOLUME, "secret": {"secretName": name, "defaultMode": OWNER_AND_GROUP_READ}}


def token_mount() -> Manifest:
    """Build the mount of that volume."""
    return {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIRECTORY, "readOnly": True}


def addresses(attempt: str) -> list[Manifest]:
    """Return the variables by which a pod knows its name, and where index 0 answers.

    The hub's address is relative to the namespace, so that the resolver's first guess finds it.
    """
    return [
        {"name": "GPUQUERY_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "GPUQUERY_HUB", "value": f"{attempt}-0.{attempt}"},
    ]


def presets(network: Network) -> Mapping[str, str]:
    """Return variables of UCX and CUDA for a network, which the job's own win over.

    With `auto` UCX chooses its transports itself. Caches of compiled kernels go to scratch, for the root file system is
    read-only.
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
    """Return the size of /dev/shm: so much for each GPU, and at most half of the memory limit, against which it counts.

    UCX exchanges rows of one pod's ranks there, and 64 MiB, what containers get by default, are too little for it.
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
