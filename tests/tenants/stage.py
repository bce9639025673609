"""The stage: a real API server with fake nodes, the operator as a process whose memory is watched, and tenants.

Tenants speak HTTP to the API server, since a kubectl for each object would take longer than the attack. The operator
gets what the chart gives it: 16 workers, and a peak of memory under the chart's limit is asserted, not imposed, so that
a test tells by how much it was missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

from tests.bench.plane import ADMIN, Plane, answers, end, free_ports
from tests.e2e.jobs import fresh
from tools.kubectl import ROOT, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence

Manifest = dict[str, Any]
API = "/apis/gpuquery.io/v1alpha1"
USER = "gpuquery"
NO_PROGRESS = "from gpuquery.kube import progress; progress.PROGRESS_PORT = 1"
"""Has the operator ask fake pods, which have addresses of this machine, on a port where nobody listens."""


def chart_limit() -> int:
    """Return the memory limit of the operator by the chart's values, in bytes."""
    values = yaml.safe_load((ROOT / "charts" / "gpuquery" / "values.yaml").read_text())
    text: str = values["resources"]["limits"]["memory"]
    assert text.endswith("Mi")
    return int(text.removesuffix("Mi")) * 2**20


@dataclass
class Operator:
    """The operator as a process of this machine."""

    process: subprocess.Popen[bytes]
    probe: str
    metrics: str

    def peak(self) -> int:
        """Return the peak of its resident memory, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024

    def said(self, path: str) -> str:
        """Return what a probe answers."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.probe}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return str(error.read().decode())


@contextlib.contextmanager
def operator(plane: Plane, *, able: bool = True, **settings: str) -> Iterator[Operator]:
    """Run the operator until the end of the block; at its beginning it leads and is ready, if it is `able` to."""
    probes, metrics = free_ports(2)
    env = {
        "KUBECONFIG": str(plane.kubeconfig(USER)),
        "PYTHONPATH": str(ROOT / "operator"),
        "GPUQUERY_PROBE_PORT": str(probes),
        "GPUQUERY_METRICS_PORT": str(metrics),
        "GPUQUERY_HOST": "127.0.0.1",
        "GPUQUERY_RUNTIME_IMAGES": json.dumps({"26.10": "runtime:26.10"}),
        **settings,
    }
    log = plane.folder / "python.log"
    before = log.stat().st_size if log.exists() else 0
    process = plane.start(
        sys.executable, "-c", f"{NO_PROGRESS}; from gpuquery.cli import main; main(['operator'])", env=env
    )
    started = Operator(process, f"http://127.0.0.1:{probes}", f"http://127.0.0.1:{metrics}")

    def leads() -> bool:
        return b"leading" in log.read_bytes()[before:] and answers(f"{started.probe}/readyz")

    try:
        if able:
            wait_until(leads, timeout=120, what="the operator to lead and to be ready")
        yield started
    finally:
        plane.started.remove(process)
        end(process)


@dataclass(frozen=True)
class Server:
    """The API server, as tenants reach it."""

    plane: Plane

    def send(self, *requests: tuple[str, str, Manifest | None], parallel: int = 8) -> list[int]:
        """Send requests (method, path, body), and return the status of each answer."""
        return asyncio.run(self._send(requests, parallel))

    async def _send(self, requests: Sequence[tuple[str, str, Manifest | None]], parallel: int) -> list[int]:
        trust = ssl.create_default_context(cafile=str(self.plane.folder / "pki" / "apiserver.crt"))
        headers = {"Authorization": f"Bearer {self.plane.tokens[ADMIN]}"}
        room, base = asyncio.Semaphore(parallel), f"https://127.0.0.1:{self.plane.port}"

        async def one(session: aiohttp.ClientSession, method: str, path: str, body: Manifest | None) -> int:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            async with (
                room,
                session.request(
                    method, base + path, data=json.dumps(body or {}), headers={"Content-Type": kind}
                ) as answer,
            ):
                await answer.read()
                return answer.status

        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=trust)) as session:
            return list(await asyncio.gather(*(one(session, *request) for request in requests)))

    def get(self, path: str) -> Any:
        """Return an object, or a list."""
        trust = ssl.create_default_context(cafile=str(self.plane.folder / "pki" / "apiserver.crt"))
        headers = {"Authorization": f"Bearer {self.plane.tokens[ADMIN]}"}
        request = urllib.request.Request(f"https://127.0.0.1:{self.plane.port}{path}", headers=headers)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)

    def namespace(self, prefix: str) -> str:
        """Make a namespace, and return its name."""
        name = fresh(prefix)
        self.plane.cluster.run("create", "namespace", name)
        return name

    def create(self, namespace: str, *jobs: Manifest) -> list[int]:
        """Create jobs in a namespace, and return the status of each answer."""
        path = f"{API}/namespaces/{namespace}/gpuqueryjobs"
        return self.send(*(("POST", path, job) for job in jobs))

    def clear(self, namespace: str) -> None:
        """Delete all jobs of a namespace, and wait until they and their pods are gone."""
        self.send(("DELETE", f"{API}/namespaces/{namespace}/gpuqueryjobs", None))
        for path in (f"{API}/namespaces/{namespace}/gpuqueryjobs", f"/api/v1/namespaces/{namespace}/pods"):
            gone = f"{path}?limit=1"
            wait_until(lambda gone=gone: not self.get(gone)["items"], timeout=600, what=f"{path} to empty", every=1)


def job(name: str, **spec: Any) -> Manifest:
    """Return a small job of the engine cpu."""
    body = {"query": {"sql": "SELECT 1 AS one"}, "output": {"uri": f"s3://lake/out/{name}"}, "engine": "cpu", **spec}
    meta = {"name": name}
    return {"apiVersion": "gpuquery.io/v1alpha1", "kind": "GpuQueryJob", "metadata": meta, "spec": body}


def megabyte(name: str) -> Manifest:
    """Return a job with a megabyte of spec where the API server measures nothing: it is stored, and refused later."""
    return job(
        name,
        engine="rapidsmpf",
        runtime={"release": "26.10"},
        executorOptions={f"option_{n}": "x" * 16_000 for n in range(64)},
    )


def seconds_until(done: Callable[[], bool], *, timeout: float = 120, what: str) -> float:
    """Return how long it takes until something is so."""
    began = time.monotonic()
    wait_until(done, timeout=timeout, what=what, every=0.02)
    return time.monotonic() - began


def small_job(server: Server, namespace: str) -> float:
    """Run a small job of a tenant, and return the seconds until its pod is asked for and its status says so."""
    name = fresh("small")
    assert server.create(namespace, job(name)) == [201]
    path = f"{API}/namespaces/{namespace}/gpuqueryjobs/{name}"
    return seconds_until(lambda: bool(server.get(path).get("status", {}).get("attempt")), what=f"{name} to start")


def small_jobs(server: Server, namespace: str, count: int = 7) -> list[float]:
    """Run small jobs one after the other, and return what each took."""
    return [small_job(server, namespace) for _ in range(count)]
