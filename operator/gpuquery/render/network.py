"""Network: what the pods of a job may reach, and who may reach them, as one NetworkPolicy for all of its pods.

It is created before the first pod, of the preflight or of an attempt, and deleted with the job, so it also applies to a
pod that ends slowly after its attempt. It depends only on the job's spec, so all attempts share it. Policies can only
add permissions: pods that two policies select may do what either allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gpuquery.api.labels import (
    LABEL_COMPONENT,
    LABEL_DASK_CLUSTER,
    LABEL_JOB_UID,
    LABEL_NAME,
    PROGRESS_PORT,
)
from gpuquery.plan import catalogs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults

Manifest = dict[str, Any]

OPERATOR = {LABEL_NAME: "gpuquery", LABEL_COMPONENT: "operator"}
"""Labels of the operator's pods, as set by the chart."""
DNS_PORTS = (53, 5353)
"""Policies apply to the port behind a Service: OpenShift's DNS listens on 5353."""
STORAGE_PORTS = (80, 443)
EVERYWHERE = ("0.0.0.0/0", "::/0")
METADATA = ("169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "fd00:ec2::/32", "fe80::/10")
"""Metadata services of AWS, Google, Azure and Alibaba, which hand out the credentials of nodes, and all link-local
addresses."""
POD_IDENTITY = ("169.254.170.23/32", "fd00:ec2::23/128")
"""The agent of EKS Pod Identity, which hands out the role of the pod's own ServiceAccount."""
POD_IDENTITY_PORT = 80
GKE_METADATA = ("127.0.0.1/32", "169.254.169.252/32")
"""Address of GKE's metadata server on the node behind 169.254.169.254:80, for Workload Identity."""
GKE_METADATA_PORT = 988
CALLED_BACK = ("ucx://", "ucxx://")
"""Protocols of Dask in which a worker may open a connection to its client: UCX makes one in each direction."""


def network_policy(job: GpuQueryJob, defaults: Defaults, metadata: Manifest) -> Manifest:
    """Build the policy of a job's pods: everything among themselves, the operator from outside, DNS and storage
    outside, and the Dask cluster that the job names.
    """
    own: Manifest = {"podSelector": {"matchLabels": {LABEL_JOB_UID: job.metadata.uid}}}
    peers, strangers = _dask_cluster(job)
    ingress: list[Manifest] = [
        # The kubelet's probes come from the node, which policies cannot block.
        {"from": [own, *peers]},
        {"from": _readers(defaults), "ports": [_port(PROGRESS_PORT)]},
    ]
    egress: list[Manifest] = [
        {"to": [own, *peers]},
        {"ports": [_port(port, protocol) for port in DNS_PORTS for protocol in ("UDP", "TCP")]},
        {"to": _anywhere(defaults), "ports": [_port(port) for port in _storage_ports(job, defaults)]},
        *_identity(job, defaults),
    ]
    if strangers:
        # The pods of a cluster that is named only by its scheduler's address are unknown.
        egress.append({"to": _anywhere(defaults)})
        if strangers.startswith(CALLED_BACK):
            ingress.append({"from": _anywhere(defaults)})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {**own, "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress},
    }


def _dask_cluster(job: GpuQueryJob) -> tuple[list[Manifest], str]:
    """Return the pods of the DaskCluster that a job names, or the address of the scheduler that it names."""
    asked = job.spec.dask
    if asked is None:
        return [], ""
    if asked.cluster_ref is not None:
        return [{"podSelector": {"matchLabels": {LABEL_DASK_CLUSTER: asked.cluster_ref.name}}}], ""
    return [], asked.scheduler_address or ""


def _readers(defaults: Defaults) -> list[Manifest]:
    """Return who reads progress and metrics."""
    operator: Manifest = {"namespaceSelector": _namespace(defaults.operator_namespace)}
    operator["podSelector"] = {"matchLabels": dict(OPERATOR)}
    return [operator, *({"namespaceSelector": _namespace(name)} for name in defaults.scrape_namespaces)]


def _identity(job: GpuQueryJob, defaults: Defaults) -> list[Manifest]:
    """Return the rules for services that hand out a ServiceAccount's cloud identity and, if enabled, the node's."""
    found: list[Manifest] = []
    if job.spec.storage.service_account_name is not None:
        found.append({"to": _blocks(POD_IDENTITY), "ports": [_port(POD_IDENTITY_PORT)]})
    if defaults.node_metadata:
        found.append({"to": _blocks(GKE_METADATA), "ports": [_port(GKE_METADATA_PORT)]})
    return found


def _namespace(name: str) -> Manifest:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}} if name else {}


def _port(number: int, protocol: str = "TCP") -> Manifest:
    return {"port": number, "protocol": protocol}


def _blocks(cidrs: Iterable[str]) -> list[Manifest]:
    return [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]


def _storage_ports(job: GpuQueryJob, defaults: Defaults) -> Sequence[int]:
    web = (uri for item in job.spec.inputs for uri in item.places if uri.startswith(("http://", "https://")))
    named = {_port_of(url) for url in (*job.spec.storage.endpoints.values(), *web)}
    declared = catalogs.ports(job.spec, defaults.catalogs)
    return sorted({*STORAGE_PORTS, *defaults.storage_ports, *declared, *(named - {0})})


def _port_of(url: str) -> int:
    """Return the port that a URL names, or 0."""
    try:
        return urlsplit(url).port or 0
    except ValueError:
        return 0  # no number, or none of a port: the pods tell that they cannot connect


def _anywhere(defaults: Defaults) -> list[Manifest]:
    """All hosts except closed ones, and all pods: some network plugins apply an address block only to hosts outside the
    cluster.
    """
    closed = dict.fromkeys((*(() if defaults.node_metadata else METADATA), *defaults.closed_addresses))
    peers: list[Manifest] = [{"namespaceSelector": {}}]
    for every in EVERYWHERE:
        inside = [cidr for cidr in closed if (":" in cidr) is (":" in every)]
        peers.append({"ipBlock": {"cidr": every, **({"except": inside} if inside else {})}})
    return peers
