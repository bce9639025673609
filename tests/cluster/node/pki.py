"""The cluster's certificates and kubeconfigs: one authority, one client per component."""

import base64
import json
import os
import subprocess
from pathlib import Path

from .layout import API_SERVICE_IP, API_URL, CLUSTER_DOMAIN, NODE, NODE_IP, Layout, RefusedError

API_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
)
SERVERS = {  # file name -> (subject, alternative names)
    "apiserver": (
        "/CN=kube-apiserver",
        ",".join([*(f"DNS:{n}" for n in API_NAMES), *(f"IP:{a}" for a in ("127.0.0.1", API_SERVICE_IP, NODE_IP))]),
    ),
    "kubelet-server": (f"/CN={NODE}", f"DNS:{NODE},IP:{NODE_IP}"),
}
CLIENTS = {  # file name -> subject; the organization is the RBAC group
    "admin": "/O=system:masters/CN=admin",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "kubelet": f"/O=system:nodes/CN=system:node:{NODE}",
    "apiserver-to-kubelet": "/O=system:masters/CN=kube-apiserver-kubelet-client",
    "coredns": "/O=system:masters/CN=coredns",
}
DAYS = "3650"
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")  # RSA keys would cost seconds


def create(layout: Layout) -> None:
    """Write keys (0600) and certificates, then a kubeconfig for every client."""
    layout.pki.mkdir(mode=0o700, parents=True)
    former = os.umask(0o077)
    try:
        _openssl(layout.pki, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "service-accounts.key")
        _openssl(layout.pki, "ec", "-in", "service-accounts.key", "-pubout", "-out", "service-accounts.pub")
        _openssl(
            layout.pki, "req", "-x509", *EC, "-keyout", "ca.key", "-out", "ca.crt", "-days", DAYS,
            "-subj", "/CN=gpuquery-onenode",
        )  # fmt: skip
        for name, (subject, alternatives) in SERVERS.items():
            _certificate(layout.pki, name, subject, f"subjectAltName={alternatives}")
        for name, subject in CLIENTS.items():
            _certificate(layout.pki, name, subject, "extendedKeyUsage=clientAuth")
            (layout.pki / f"{name}.conf").write_text(kubeconfig(layout.pki, name))
        layout.kubeconfig.write_text(kubeconfig(layout.pki, "admin"))
    finally:
        os.umask(former)


def kubeconfig(pki: Path, client: str) -> str:
    """A self-contained kubeconfig, in the JSON that YAML is a superset of."""

    def data(name: str) -> str:
        return base64.b64encode((pki / name).read_bytes()).decode()

    user = {"client-certificate-data": data(f"{client}.crt"), "client-key-data": data(f"{client}.key")}
    cluster = {"server": API_URL, "certificate-authority-data": data("ca.crt")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "onenode", "cluster": cluster}],
        "users": [{"name": client, "user": user}],
        "contexts": [{"name": "onenode", "context": {"cluster": "onenode", "user": client}}],
        "current-context": "onenode",
    }
    return json.dumps(content, indent=1) + "\n"


def _certificate(pki: Path, name: str, subject: str, extension: str) -> None:
    (pki / f"{name}.ext").write_text(f"{extension}\n")
    _openssl(pki, "req", *EC, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
    _openssl(
        pki, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", DAYS, "-out", f"{name}.crt", "-extfile", f"{name}.ext",
    )  # fmt: skip


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise RefusedError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
