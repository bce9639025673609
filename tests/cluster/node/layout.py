"""Where everything of the cluster lives: folders, names, addresses and ports.

The node's address belongs to the pods' own bridge, so nothing depends on the machine's network, nothing
listens on it, and the cluster's DNS server never meets the machine's own.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NODE = "node-1"
BRIDGE = "gpuquery0"
NODE_IP = "10.244.0.1"
POD_CIDR = "10.244.0.0/20"  # 4,094 addresses: fast churn never waits for one to come free
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
CLUSTER_DOMAIN = "cluster.local"
MAX_PODS = 400
CGROUP = "gpuquery-onenode"
NFT_TABLE = "gpuquery-onenode"
PAUSE_IMAGE = "localhost/pause:dev"
API_URL = f"https://{NODE_IP}:6443"
DNS_READY_URL = f"http://{NODE_IP}:8181/ready"
PROXY_READY_URL = f"http://{NODE_IP}:10256/healthz"
ETCD_CLIENT_URL = "http://127.0.0.1:2379"
ETCD_PEER_URL = "http://127.0.0.1:2380"

# Where containerd, the kubelet and CNI write whatever their settings say.
OUTSIDE = ("/run/containerd", "/etc/cni", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")

# Ports on loopback that a Kubernetes or etcd already on this machine would hold.
LOOPBACK_PORTS = {2379: "etcd", 2380: "etcd", 10257: "kube-controller-manager", 10259: "kube-scheduler"}


class RefusedError(Exception):
    """The machine or the caller must change something first; the message says what."""


@dataclass(frozen=True)
class Layout:
    """The cluster's folders: `state` goes with `down`, `cache` stays."""

    state: Path
    cache: Path

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Layout":
        """Take the folders from the environment, or their defaults."""
        cache = Path(env.get("XDG_CACHE_HOME") or Path(env.get("HOME", "/root")) / ".cache")
        state = Path(env.get("GPUQUERY_CLUSTER_DIR") or "/var/lib/gpuquery-onenode")
        return cls(state=state.absolute(), cache=cache.absolute() / "gpuquery" / "cluster")

    @property
    def lock(self) -> Path:
        """Outside `state`, which `down` removes while it holds the lock."""
        return Path("/run/lock") / f"gpuquery-onenode{str(self.state).replace('/', '-')}.lock"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def conf(self) -> Path:
        return self.state / "conf"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "admin.conf"

    @property
    def options(self) -> Path:
        """What `up` was asked for; written last, so it also says that `up` once came to its end."""
        return self.state / "options.json"

    @property
    def outside(self) -> Path:
        """Which of OUTSIDE the machine did not have before: those go with `down`."""
        return self.state / "outside.json"

    @property
    def containerd_socket(self) -> Path:
        return self.state / "containerd.sock"

    def log(self, part: str) -> Path:
        return self.logs / f"{part}.log"
