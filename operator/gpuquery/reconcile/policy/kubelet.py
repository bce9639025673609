"""Kubelet: why a pod is over without any of its containers having run.

The kubelet refuses pods that the scheduler has given to its node because of a policy of the node, or because a device
plugin or the node lacks what was promised. That is no eviction: the next pod may be refused for the same reason.
Reasons: `pkg/kubelet/lifecycle/predicate.go`, `pkg/kubelet/cm/`, `pkg/kubelet/nodeshutdown/` of Kubernetes 1.36.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.reconcile.policy.lingering import where

if TYPE_CHECKING:
    from gpuquery.reconcile.observe.model import Pod

NODE_GONE = {"NodeLost", "NodeShutdown", "Terminated"}
"""Reasons of pods whose node is lost or shuts down, which count as evicted."""
WAYS_OUT = {
    "AppArmor": "the pod asks for an AppArmor profile that this node cannot enforce: see who asks for it (a policy of "
    "the namespace, `template.metadata.annotations`), or choose nodes that have it",
    "UnexpectedAdmissionError": "a device plugin of this node could not give what the pod asks for: look at the "
    "device plugin and the kubelet there",
    "TopologyAffinityError": "this node's topology manager finds no CPUs and devices that lie together: ask for less "
    "in each pod (`workers.resources`, `workers.gpus`), or choose nodes with another topology policy",
    "SMTAlignmentError": "this node gives whole CPU cores only: ask for an even number of CPUs in `workers.resources`",
    "NodeAffinity": "the node's labels no longer are what the pod asks for: look at who changes them, and at "
    "`template.spec.nodeSelector` and `affinity`",
    "Evicted": "this node takes no pods while it is short of a resource: free some there, or choose other nodes",
    "SysctlForbidden": "this node forbids a sysctl that the pod asks for: see who asks for it (a policy of the "
    "namespace)",
}
OUT_OF = "OutOf"
"""Prefix of reasons that name a resource: OutOfcpu, OutOfmemory, OutOfpods, OutOfnvidia.com/gpu."""


def ended_before_it_ran(pod: Pod) -> tuple[Failure, str]:
    """Return class and message for a pod that is over and whose container has no known end."""
    why = ": ".join(part for part in (pod.reason, pod.message) if part)
    if pod.reason in NODE_GONE:
        return Failure.EVICTED, f"{where(pod)} ended without having run: {why}"
    if not why:
        return Failure.WORKER_LOST, f"{where(pod)} ended, and nobody says why or whether it had run"
    return (
        Failure.POD_REFUSED,
        f"{where(pod)} was refused by the kubelet: {why.removesuffix('.')}; {_way_out(pod.reason)}",
    )


def _way_out(reason: str) -> str:
    if reason.startswith(OUT_OF):
        what = reason.removeprefix(OUT_OF)
        return f"this node had less {what} left than the scheduler believed: look at what else takes {what} there"
    return WAYS_OUT.get(reason, "look at the events of the pod and at the kubelet's log there")
