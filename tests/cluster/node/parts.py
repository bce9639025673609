"""The parts of a Kubernetes node: each one's command line and configuration file."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .layout import (
    BRIDGE,
    CGROUP,
    CLUSTER_DOMAIN,
    DNS_READY_URL,
    ETCD_CLIENT_URL,
    ETCD_PEER_URL,
    MAX_PODS,
    NODE,
    NODE_IP,
    PAUSE_IMAGE,
    POD_CIDR,
    PROXY_READY_URL,
    SERVICE_CIDR,
    Layout,
)


@dataclass(frozen=True)
class Options:
    """What a caller of `up` may choose.

    `kcm_qps` and `kcm_burst` are kube-controller-manager's limits towards the API server. Its own defaults, 20 and
    30, make 100 pods of one Job take four seconds; large and managed clusters raise them, and so do we.
    """

    gpus: int = 8
    kcm_qps: int = 200
    kcm_burst: int = 400
    fsync: bool = True


def files(layout: Layout, programs: Path) -> dict[Path, str]:
    """Every configuration file and its content."""
    return {
        layout.conf / "cni" / "10-pods.conflist": json.dumps(_cni(layout), indent=1),
        layout.conf / "containerd.toml": _containerd(layout, programs),
        layout.conf / "kubelet.yaml": _kubelet(layout),
        layout.conf / "kube-proxy.yaml": _kube_proxy(layout),
        layout.conf / "Corefile": _corefile(layout),
    }


def programs_of(layout: Layout) -> Path | None:
    """Folder of the programs for which the configuration was written; None if it is not there."""
    config = layout.conf / "containerd.toml"
    found = re.search(r'^    bin_dirs = \["(.+)"\]$', config.read_text(), re.MULTILINE) if config.exists() else None
    return Path(found[1]) if found else None


def etcd(layout: Layout, options: Options) -> list[str]:
    """The store; without fsync it is faster and may lose the last writes when the machine dies."""
    return [
        "etcd",
        f"--data-dir={layout.state}/etcd",
        f"--listen-client-urls={ETCD_CLIENT_URL}",
        f"--advertise-client-urls={ETCD_CLIENT_URL}",
        f"--listen-peer-urls={ETCD_PEER_URL}",
        f"--initial-advertise-peer-urls={ETCD_PEER_URL}",
        f"--initial-cluster=default={ETCD_PEER_URL}",
        *([] if options.fsync else ["--unsafe-no-fsync"]),
    ]


def apiserver(layout: Layout) -> list[str]:
    """The API server, on the node's own address only."""
    pki = layout.pki
    return [
        "kube-apiserver",
        f"--etcd-servers={ETCD_CLIENT_URL}",
        f"--bind-address={NODE_IP}",
        f"--advertise-address={NODE_IP}",
        "--secure-port=6443",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={pki}/apiserver-to-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-to-kubelet.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged=true",
    ]


def controller_manager(layout: Layout, options: Options) -> list[str]:
    """The controllers; one instance, so no leader election to wait for."""
    return [
        *_control_loop(layout, "kube-controller-manager"),
        f"--service-account-private-key-file={layout.pki}/service-accounts.key",
        f"--root-ca-file={layout.pki}/ca.crt",
        f"--cluster-signing-cert-file={layout.pki}/ca.crt",
        f"--cluster-signing-key-file={layout.pki}/ca.key",
        "--use-service-account-credentials",
        "--allocate-node-cidrs=false",
        f"--kube-api-qps={options.kcm_qps}",
        f"--kube-api-burst={options.kcm_burst}",
    ]


def scheduler(layout: Layout) -> list[str]:
    """The scheduler, with its stock profile and limits."""
    return _control_loop(layout, "kube-scheduler")


def _control_loop(layout: Layout, name: str) -> list[str]:
    config = layout.pki / f"{name}.conf"
    return [
        name,
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def containerd(layout: Layout) -> list[str]:
    """The container runtime."""
    return ["containerd", "--config", f"{layout.conf}/containerd.toml"]


def kubelet(layout: Layout) -> list[str]:
    """The node agent."""
    return [
        "kubelet",
        f"--config={layout.conf}/kubelet.yaml",
        f"--kubeconfig={layout.pki}/kubelet.conf",
        f"--root-dir={layout.state}/kubelet",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_IP}",
    ]


def kube_proxy(layout: Layout) -> list[str]:
    """What makes service addresses work."""
    return ["kube-proxy", f"--config={layout.conf}/kube-proxy.yaml"]


def coredns(layout: Layout) -> list[str]:
    """The cluster's DNS server, a plain process on the node's address."""
    return ["coredns", "-conf", f"{layout.conf}/Corefile"]


def _cni(layout: Layout) -> dict[str, object]:
    """Pods hang on one bridge. Masquerading is one rule of ours (network.py) instead of several per pod."""
    ipam = {
        "type": "host-local",
        "dataDir": f"{layout.state}/ipam",
        "ranges": [[{"subnet": POD_CIDR, "gateway": NODE_IP}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True, "ipam": ipam}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}


def _containerd(layout: Layout, programs: Path) -> str:
    # restrict_oom_score_adj: root without CAP_SYS_RESOURCE, as in a container, may not lower a score.
    # netns_mounts_under_state_dir: whatever is mounted is then below the state folder, where `down` finds it.
    return f"""\
version = 3
root = "{layout.state}/containerd/root"
state = "{layout.state}/containerd/state"

[grpc]
  address = "{layout.containerd_socket}"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "{programs}/runc"
      Root = "{layout.state}/runc"
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{programs}"]
    conf_dir = "{layout.conf}/cni"
"""


def _kubelet(layout: Layout) -> str:
    return f"""\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {NODE_IP}
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: "{layout.pki}/ca.crt"}}
authorization: {{mode: Webhook}}
tlsCertFile: "{layout.pki}/kubelet-server.crt"
tlsPrivateKeyFile: "{layout.pki}/kubelet-server.key"
containerRuntimeEndpoint: "unix://{layout.containerd_socket}"
podLogsDir: "{layout.state}/podlogs"
volumePluginDir: "{layout.state}/volume-plugins"
clusterDNS: ["{NODE_IP}"]
clusterDomain: {CLUSTER_DOMAIN}
resolvConf: "{layout.conf}/resolv.conf"
maxPods: {MAX_PODS}
kubeAPIQPS: 200
kubeAPIBurst: 400
serializeImagePulls: false
makeIPTablesUtilChains: false
# The node may itself be a container, with cgroup v1, swap, and no right to reserve anything.
cgroupDriver: cgroupfs
cgroupRoot: /{CGROUP}
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
# A test must not lose its images or pods because the machine's disk is nearly full.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
"""


def _kube_proxy(layout: Layout) -> str:
    # masqueradeAll: two pods on one bridge answer each other directly, past the kernel's record of the service
    # address, unless the bridge happens to call the packet filter; so services never rely on that.
    health = PROXY_READY_URL.removeprefix("http://").partition("/")[0]
    return f"""\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
nftables: {{masqueradeAll: true}}
hostnameOverride: {NODE}
clusterCIDR: {POD_CIDR}
clientConnection: {{kubeconfig: "{layout.pki}/kube-proxy.conf"}}
conntrack: {{maxPerCore: 0}}
healthzBindAddress: {health}
metricsBindAddress: 127.0.0.1:10249
"""


def _corefile(layout: Layout) -> str:
    # Short answers, and no memory of a missing name: ranks look index 0 up before its record exists.
    ready = DNS_READY_URL.removeprefix("http://").partition("/")[0]
    return f"""\
.:53 {{
  bind {NODE_IP}
  ready {ready}
  errors
  cache 5 {{
    denial 0
  }}
  kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
    kubeconfig {layout.pki}/coredns.conf
    ttl 5
  }}
  forward . {layout.conf}/resolv.conf
}}
"""
