"""Worker sets of the end-to-end tests: how they are built, looked into, and broken."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuquery.api.labels import PROGRESS_PORT
from gpuquery.runner.coordination.settings import PROGRAM
from tests.e2e.jobs import Bench, condition, fresh, tpch, true
from tools.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

RELEASE = (os.environ.get("TEST_ENGINES", "").split() or ["26.10"])[-1]
"""The release of the sets: the last one that has an image with the engine for tests."""
CUDA = int(os.environ.get("CUDA", "12"))
SQL = "SELECT l_orderkey, l_linenumber, l_quantity FROM lineitem WHERE l_quantity > 25"
SLOW = {"TEST_ENGINE_PARTS": "40", "TEST_ENGINE_PAUSE": "3"}
"""Keeps a set running for two minutes after its first file: each test ends it long before."""
_SIGNAL_RANKS = rf"""
import os, pathlib, signal, sys
found = [
    int(entry.name)
    for entry in pathlib.Path("/proc").iterdir()
    if entry.name.isdigit() and b"\0{PROGRAM}\0" in (entry / "cmdline").read_bytes()
]
for process in found:
    os.kill(process, signal.Signals[sys.argv[1]])
sys.exit(not found and "there is no process of the query")
"""
_TABLE = "gpuquery-cut"
INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Set:
    """One job with ranks."""

    bench: Bench
    name: str

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods of its latest attempt, by index."""
        # dask-kubernetes copies the job's labels to the pods that it makes.
        found = [p for p in self.bench.pods(self.name) if INDEX in p["metadata"]["labels"]]
        latest = max((int(p["metadata"]["labels"]["gpuquery.io/attempt"]) for p in found), default=0)
        mine = [p for p in found if p["metadata"]["labels"]["gpuquery.io/attempt"] == str(latest)]
        return sorted(mine, key=lambda p: int(p["metadata"]["labels"][INDEX]))

    def pod(self, index: int) -> str:
        """Return the name of a pod."""
        return str(self.pods()[index]["metadata"]["name"])

    def address(self, index: int) -> str:
        """Return the address of a pod."""
        return str(self.pods()[index]["status"]["podIP"])

    def progress(self) -> dict[str, Any] | None:
        """Return what index 0 says of itself; None if it does not answer."""
        try:
            url = f"http://{self.address(0)}:{PROGRESS_PORT}/v1/progress"
            with urllib.request.urlopen(url, timeout=2) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, ValueError, LookupError):
            return None

    def reaches(self, phase: str, *, files: int = 0) -> dict[str, Any]:
        """Wait until index 0 is in a phase, with so many files written; returns what it says of itself."""

        def there() -> dict[str, Any] | None:
            if (found := self.progress()) is None:
                job = self.bench.get(self.name)
                assert not true(job, "Failed"), condition(job, "Failed")
                return None
            return found if found.get("phase") == phase and found.get("files", 0) >= files else None

        return dict(wait_until(there, timeout=240, what=f"{self.name} to be {phase} with {files} files", every=0.3))

    def signal_ranks(self, index: int, name: str) -> None:
        """Send a signal to the processes of the query in a pod; its supervisor gets none."""
        self.bench.cluster.run(
            "exec", "-n", self.bench.namespace, self.pod(index), "-c", "runner", "--",
            "python", "-c", _SIGNAL_RANKS, name,
        )  # fmt: skip

    def freeze_supervisor(self, index: int) -> None:
        """Stop process 1 of a pod of this machine, which nobody inside of it could."""
        name = f"GPUQUERY_POD_NAME={self.pod(index)}".encode()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                ours = entry.name.isdigit() and b"\0gpuquery.runner.supervisor\0" in (entry / "cmdline").read_bytes()
                if ours and name in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGSTOP)
                    return
        raise LookupError(f"pod {index} of {self.name} has no supervisor on this machine")

    def kill_pod(self, index: int) -> None:
        """Take a pod away at once, as a node that dies does."""
        self.bench.cluster.run(
            "delete", "pod", "-n", self.bench.namespace, self.pod(index), "--force", "--grace-period=0", "--wait=false"
        )

    @contextlib.contextmanager
    def cut(self, one: int, other: int) -> Iterator[None]:
        """Let nothing through between two pods of this machine, in either direction."""
        a, b = self.address(one), self.address(other)
        _nft("add", "table", "bridge", _TABLE)
        try:
            _nft("add", "chain", "bridge", _TABLE, "cut", "{ type filter hook forward priority 0; }")
            for source, target in ((a, b), (b, a)):
                _nft("add", "rule", "bridge", _TABLE, "cut", "ip", "saddr", source, "ip", "daddr", target, "drop")
            yield
        finally:
            _nft("delete", "table", "bridge", _TABLE)

    def objects(self) -> list[str]:
        """Return what exists of it beside pods: `secret/name`, `networkpolicy.networking.k8s.io/name`, ..."""
        kinds = "jobs.batch,services,configmaps,secrets,networkpolicies"
        found = self.bench.cluster.run(
            "get", kinds, "-n", self.bench.namespace, "-l", f"gpuquery.io/job={self.name}", "-o", "name"
        )
        return found.split()


def started(
    bench: Bench,
    *,
    pods: int = 3,
    image: str = "test-engine",
    env: dict[str, str] | None = None,
    gpus: int = 1,
    stall: int | None = None,
    release: str = RELEASE,
    **spec: Any,
) -> Set:
    """Apply a job of so many pods; `image` is `test-engine` or `runtime`, `stall` its `stallSeconds`."""
    name = fresh("set")
    job = bench.job(
        name,
        **{
            "sql": SQL,
            "inputs": tpch("lineitem"),
            "engine": "rapidsmpf",
            "cluster": "distributed",
            "preflight": "never",
            # So small a table is one partition else, which releases before 26.10 refuse on several GPUs.
            "executorOptions": {"target_partition_size": 1_000_000},
            "backoffLimit": 0,
            "workers": {
                "replicas": pods,
                "gpus": gpus,
                **({} if stall is None else {"stallSeconds": stall}),
                "resources": {
                    "requests": {"cpu": "50m", "memory": "256Mi"},
                    "limits": {"cpu": "2", "memory": "2Gi"},
                },
            },
            "runtime": {"release": release, "image": bench.cluster.image(f"{image}-{release}-cu{CUDA}")},
            "template": {"spec": {"env": [{"name": k, "value": v} for k, v in (env or {}).items()]}},
            **spec,
        },
    )
    bench.apply(job)
    return Set(bench, name)


def _nft(*arguments: str) -> None:
    subprocess.run(["nft", *arguments], check=True, capture_output=True, timeout=30)
