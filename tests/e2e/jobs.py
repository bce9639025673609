"""Builders and followers of GpuQueryJobs, so that a test shows only what it is about."""

from __future__ import annotations

import contextlib
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tools.kubectl import PATIENCE, Cluster, KubectlError, wait_until
from tools.lake import SECRET, Lake

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HELD = """
import pathlib
import time

def query(inputs, params):
    while not pathlib.Path("/scratch/go-on").exists():
        time.sleep(0.1)
    return inputs["nation"]
"""
TPCH = ("customer", "lineitem", "nation", "orders", "region")


def fresh(prefix: str) -> str:
    """Return a name that no other test uses."""
    return f"{prefix}-{secrets.token_hex(3)}"


def tpch(*tables: str) -> list[dict[str, Any]]:
    """Return inputs for TPC-H tables of the lake."""
    return [{"name": t, "uri": f"s3://lake/tpch/{t}/*.parquet"} for t in tables]


@dataclass(frozen=True)
class Bench:
    """Where the jobs of one test run: a cluster, a namespace, a store."""

    cluster: Cluster
    lake: Lake
    namespace: str
    endpoint: str = ""
    names: list[str] = field(default_factory=list)

    @property
    def node(self) -> str:
        """The address at which pods reach this machine; skips the test where they do not."""
        if not self.cluster.is_one_node:
            pytest.skip("pods of another cluster do not reach a server on this machine")
        addresses = self.cluster.get("nodes")["items"][0]["status"]["addresses"]
        return next(str(a["address"]) for a in addresses if a["type"] == "InternalIP")

    def job(self, name: str, *, inputs: Sequence[Mapping[str, Any]] = (), **spec: Any) -> dict[str, Any]:
        """Build a job whose output is `s3://lake/out/<name>` if it has no `table`; `sql=`, `python=` are the query."""
        query = {k: spec.pop(k) for k in ("sql", "python", "configMapKeyRef") if k in spec}
        output = dict(spec.pop("output", {}))
        if "table" not in output:
            output.setdefault("uri", f"s3://lake/out/{name}")
        storage = {"secretName": SECRET, "endpoint": self.endpoint or self.lake.endpoint, **spec.pop("storage", {})}
        body = {"query": query, "inputs": list(inputs), "output": output, "storage": storage, **spec}
        return {
            "apiVersion": "gpuquery.io/v1alpha1",
            "kind": "GpuQueryJob",
            "metadata": {"name": name},
            "spec": body,
        }

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Apply objects to the test's namespace."""
        self.cluster.apply(*documents, namespace=self.namespace)
        self.names.extend(d["metadata"]["name"] for d in documents if d["kind"] == "GpuQueryJob")

    def get(self, name: str) -> dict[str, Any]:
        """Return the job as it is; its status is empty until the operator has looked at it."""
        found: dict[str, Any] = self.cluster.get("gqj", name, "-n", self.namespace)
        return {"status": {}, **found}

    def ended(self, name: str, *, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait until the job is Complete or Failed, and return it."""

        def terminal() -> dict[str, Any] | None:
            job = self.get(name)
            return job if true(job, "Complete") or true(job, "Failed") else None

        found: dict[str, Any] = wait_until(terminal, timeout=timeout, what=f"the end of job {name}", every=0.3)
        assert true(found, "Complete") != true(found, "Failed"), "exactly one terminal condition"
        assert not self.alive(name), "a job ends only once none of its pods is alive"
        return found

    def completed(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a job, wait for its end, and insist that it is Complete."""
        self.apply(document)
        return self.as_completed(document["metadata"]["name"])

    def as_completed(self, name: str) -> dict[str, Any]:
        """Wait for a job's end, and insist that it is Complete."""
        job = self.ended(name)
        assert true(job, "Complete"), condition(job, "Failed")
        assert true(job, "OutputCommitted")
        return job

    def failed(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a job, wait for its end, insist that it Failed; returns the Failed condition."""
        self.apply(document)
        return self.how_it_failed(document["metadata"]["name"])

    def how_it_failed(self, name: str) -> dict[str, Any]:
        """Wait for a job's end, insist that it Failed; returns the Failed condition."""
        job = self.ended(name)
        found = condition(job, "Failed")
        assert found and found["status"] == "True", job["status"]
        return found

    def held(self, name: str, **spec: Any) -> dict[str, Any]:
        """Build a job whose query runs until the test lets it go on."""
        return self.job(name, python=HELD, inputs=tpch("nation"), **spec)

    def go_on(self, name: str, *, attempt: int = 1) -> None:
        """Let the query of a held job go on, in the pod of that attempt."""

        def told() -> bool:
            for about in (p["metadata"] for p in self.pods(name) if "ownerReferences" in p["metadata"]):
                if about["labels"].get("gpuquery.io/attempt") == str(attempt):
                    command = ("-n", self.namespace, "-c", "runner", "--", "touch", "/scratch/go-on")
                    with contextlib.suppress(KubectlError):  # it does not run yet
                        self.cluster.run("exec", about["name"], *command)
                        return True
            return False

        wait_until(told, what=f"the pod of attempt {attempt} of {name}")

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Return the pods of a job, of any attempt."""
        found: list[dict[str, Any]] = self.cluster.get("pods", "-n", self.namespace, "-l", f"gpuquery.io/job={name}")[
            "items"
        ]
        return found

    def kill(self, name: str) -> None:
        """Take the pod of a job away at once, as a node that dies does."""
        (victim,) = self.alive(name)
        self.cluster.run("delete", "pod", victim, "-n", self.namespace, "--force", "--grace-period=0")

    def alive(self, name: str) -> list[str]:
        """Return the names of its pods that have not ended."""
        pods = self.pods(name)
        return [p["metadata"]["name"] for p in pods if p["status"]["phase"] not in ("Succeeded", "Failed")]

    def events(self, name: str) -> list[tuple[str, str]]:
        """Return (reason, message) of the job's events, oldest first."""
        found = self.cluster.get(
            "events",
            "-n",
            self.namespace,
            "--field-selector",
            f"involvedObject.name={name},involvedObject.kind=GpuQueryJob",
        )["items"]
        found.sort(key=lambda e: e["metadata"]["creationTimestamp"])
        return [(e["reason"], e.get("message") or e.get("note", "")) for e in found]

    def warnings(self, name: str) -> list[str]:
        """Return the warnings about a job and whatever belongs to it, as `kubectl get events` would tell them."""
        found = self.cluster.get("events", "-n", self.namespace, "--field-selector", "type=Warning")["items"]
        return [
            f"{e['involvedObject']['kind']} {e['involvedObject']['name']}: {e['reason']}: {e.get('message', '')}"
            for e in found
            if e["involvedObject"]["name"].startswith(name)
        ]

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of the bucket `lake` below a prefix."""
        pages = self.lake.client().get_paginator("list_objects_v2").paginate(Bucket="lake", Prefix=prefix)
        return [o["Key"] for page in pages for o in page.get("Contents", [])]

    def uploads(self, prefix: str) -> list[str]:
        """Return the keys of pending multipart uploads below a prefix."""
        found = self.lake.client().list_multipart_uploads(Bucket="lake", Prefix=prefix)
        return [u["Key"] for u in found.get("Uploads", [])]

    def commits(self, output: str) -> list[str]:
        """Return the commit records of an output folder (a prefix in the bucket); a fence commits nothing."""
        client = self.lake.client()
        records = [k for k in self.keys(f"{output}/_commits/") if k.endswith(".json")]
        bodies = {k: client.get_object(Bucket="lake", Key=k)["Body"].read() for k in records}
        return [k for k, body in bodies.items() if json.loads(body)["mode"] != "fence"]


@dataclass(frozen=True)
class Begun:
    """The job that a test begins with, by `@pytest.mark.begins(sql=..., inputs=...)`.

    All jobs that the tests of a module begin with are applied at once; a test waits for its own and looks at it. What
    the mark says is given to `Bench.job`, and so is a parameter `spec` of the test.
    """

    bench: Bench
    name: str

    def completed(self) -> dict[str, Any]:
        """Wait for its end, and insist that it is Complete."""
        return self.bench.as_completed(self.name)

    def failed(self) -> dict[str, Any]:
        """Wait for its end, insist that it Failed; returns the Failed condition."""
        return self.bench.how_it_failed(self.name)


def condition(job: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    """Return a condition of a job, or None."""
    conditions = job.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == kind), None)


def true(job: Mapping[str, Any], kind: str) -> bool:
    """Whether a condition is True."""
    found = condition(job, kind)
    return found is not None and found["status"] == "True"
