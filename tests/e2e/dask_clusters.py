"""DaskClusters of the end-to-end tests: small, warm, with workers on the CPU; how they are looked into, and broken.

They are made by the real operator of dask-kubernetes (the fixture `dask_operator`), from the image with the test
engine.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.jobs import fresh
from tests.support.certificates import servers
from tools.kubectl import Cluster, KubectlError, wait_until
from tools.lake import SECRET, Lake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RELEASE = "26.10"
CUDA = int(os.environ.get("CUDA", "12"))
PORT = 8786
HTTP_PORT = 8787
CERTIFICATES = "/etc/dask-tls"
SIGNAL_CHILDREN = r"""
import os, pathlib, signal, sys
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit() and int(entry.name) not in (1, os.getpid()) and (entry / "cmdline").read_bytes():
        os.kill(int(entry.name), signal.Signals[sys.argv[1]])
"""
_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class WarmCluster:
    """One DaskCluster that runs."""

    cluster: Cluster
    namespace: str
    name: str
    protocol: str

    @property
    def address(self) -> str:
        """Return the address of its scheduler, for `spec.dask.schedulerAddress`."""
        return f"{self.protocol}://{self.name}-scheduler.{self.namespace}.svc:{PORT}"

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Return its pods of a component, `scheduler` or `worker`, that are not being deleted, oldest first."""
        selector = f"dask.org/cluster-name={self.name},dask.org/component={component}"
        found = self.cluster.get("pods", "-n", self.namespace, "-l", selector)["items"]
        found.sort(key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def workers(self) -> frozenset[str] | None:
        """Return the addresses of the workers that are connected, by the scheduler's own word; None without one."""
        try:
            (pod,) = self.pods("scheduler")
            path = f"pods/{pod['metadata']['name']}:{HTTP_PORT}/proxy/json/identity.json"
            said = self.cluster.run("get", "--raw", f"/api/v1/namespaces/{self.namespace}/{path}")
            return frozenset(json.loads(said)["workers"])
        except (KubectlError, ValueError, LookupError):
            return None

    def wait(self, workers: int, *, without: frozenset[str] = frozenset(), timeout: float = 180) -> frozenset[str]:
        """Wait until so many workers are connected, no more and no fewer, and none of `without`; returns them."""

        def there() -> frozenset[str] | None:
            found = self.workers()
            return found if found is not None and len(found) == workers and not found & without else None

        what = f"{workers} workers of {self.name}"
        return frozenset(wait_until(there, timeout=timeout, what=what, every=0.5))

    def kill(self, component: str) -> str:
        """Take a pod of a component away at once, as a node that dies does, and return its address.

        Its Deployment makes another.
        """
        pod = self.pods(component)[0]
        target = ["pod", "-n", self.namespace, pod["metadata"]["name"]]
        self.cluster.run("delete", *target, "--force", "--grace-period=0", "--wait=false")
        return str(pod["status"]["podIP"])

    def signal_worker(self, name: str) -> None:
        """Send a signal such as SIGSTOP to the first worker: to its process, and not to the nanny that started it."""
        pod = self.pods("worker")[0]["metadata"]["name"]
        self.cluster.run("exec", "-n", self.namespace, pod, "-c", "worker", "--", "python", "-c", SIGNAL_CHILDREN, name)

    def delete(self) -> None:
        """Delete it and wait until nothing of it is left."""
        self.cluster.run("delete", "daskcluster", self.name, "-n", self.namespace, "--ignore-not-found")
        selector = f"dask.org/cluster-name={self.name}"
        kinds = "pods,deployments,services"
        wait_until(
            lambda: not self.cluster.get(kinds, "-n", self.namespace, "-l", selector)["items"],
            what=f"the objects of {self.name} to go", every=0.5,
        )  # fmt: skip


def secured(document: dict[str, Any], secret: str) -> dict[str, Any]:
    """Give scheduler and workers of a DaskCluster the certificates of a Secret."""
    tls = servers(Path(CERTIFICATES))
    for part in ("scheduler", "worker"):
        pod = document["spec"][part]["spec"]
        pod["volumes"].append({"name": "tls", "secret": {"secretName": secret, "defaultMode": 0o440}})
        (container,) = pod["containers"]
        container["volumeMounts"].append({"name": "tls", "mountPath": CERTIFICATES, "readOnly": True})
        container["env"] += [{"name": name, "value": value} for name, value in tls.items()]
    return document


def document(
    name: str, image: str, *, workers: int, protocol: str, gpus: int = 0, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return a DaskCluster of CPU workers; `gpus` is what each asks Kubernetes for, whether it uses it or not.

    `env` are more variables of scheduler and workers.
    """

    def pod(component: str, command: list[str], **more: Any) -> dict[str, Any]:
        limits = {"cpu": "2", "memory": "1Gi"}
        if component == "worker" and gpus:
            limits["nvidia.com/gpu"] = str(gpus)  # the schema of a DaskCluster takes texts only
        container = {
            "name": component,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": command,
            "env": [
                # Longer than any test; a query holds the loop that would send the worker's heartbeat.
                {"name": "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "value": "None"},
                {"name": "UCX_TLS", "value": "tcp,self"},
                {"name": "DASK_SCHEDULER_ADDRESS", "value": f"{protocol}://{name}-scheduler:{PORT}"},
                *({"name": key, "value": value} for key, value in (env or {}).items()),
            ],
            "resources": {"requests": {"cpu": "20m", "memory": "200Mi"}, "limits": limits},
            "securityContext": _SECURITY,
            "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
            **more,
        }
        return {
            "containers": [container],
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 2,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        }

    scheduler = ["dask", "scheduler", "--protocol", protocol, "--port", str(PORT)]
    scheduler += ["--dashboard-address", f":{HTTP_PORT}"]
    worker = ["dask", "worker", "--protocol", protocol, "--name", "$(DASK_WORKER_NAME)", "--nworkers", "1"]
    worker += ["--nthreads", "1", "--local-directory", "/tmp", "--no-dashboard", "--death-timeout", "60"]
    ports = {"tcp-comm": PORT, "http-dashboard": HTTP_PORT}
    selector = {"dask.org/cluster-name": name, "dask.org/component": "scheduler"}
    probe = {"httpGet": {"path": "/health", "port": "http-dashboard"}, "periodSeconds": 1}
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": name},
        "spec": {
            "scheduler": {
                "spec": pod(
                    "scheduler", scheduler, readinessProbe=probe,
                    ports=[{"name": key, "containerPort": number} for key, number in ports.items()],
                ),
                "service": {
                    "type": "ClusterIP",
                    "clusterIP": "None",
                    "selector": selector,
                    "ports": [{"name": key, "port": number, "targetPort": key} for key, number in ports.items()],
                },
            },
            "worker": {"replicas": workers, "spec": pod("worker", worker)},
        },
    }  # fmt: skip


@contextlib.contextmanager
def warm(
    cluster: Cluster, namespace: str, *, workers: int = 2, protocol: str = "tcp", release: str = RELEASE, gpus: int = 0,
    lake: Lake | None = None, env: Mapping[str, str] | None = None, secret: str = "", wait: bool = True,
) -> Iterator[WarmCluster]:  # fmt: skip
    """Yield a DaskCluster whose workers are all connected, or with `wait` off one of which nothing is known yet.

    Afterwards nothing of it may be left. Its workers may read from `lake`; `secret` names one with its certificates.
    """
    image = cluster.image(f"test-engine-{release}-cu{CUDA}")
    made = WarmCluster(cluster, namespace, fresh("warm"), protocol)
    wanted = document(made.name, image, workers=workers, protocol=protocol, gpus=gpus, env=env)
    if secret:
        secured(wanted, secret)
    if lake is not None:
        (worker,) = wanted["spec"]["worker"]["spec"]["containers"]
        worker["envFrom"] = [{"secretRef": {"name": SECRET}}]
        given = {"AWS_ENDPOINT_URL": lake.endpoint, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
        worker["env"] += [{"name": name, "value": value} for name, value in given.items()]
    cluster.apply(wanted, namespace=namespace)
    try:
        if wait:
            made.wait(workers)
        yield made
    finally:
        made.delete()
