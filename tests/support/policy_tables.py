"""Jobs, the policies that they meet, and what becomes of them: for the operator, and for an API server."""

from __future__ import annotations

from typing import Any

import pytest

Json = dict[str, Any]


def job(**spec: Any) -> Json:
    """Return a job with these fields."""
    body = {"query": {"sql": "SELECT 1 AS one"}, "output": {"uri": "s3://lake/out"}, **spec}
    metadata = {"name": "revenue", "namespace": "default"}
    return {"apiVersion": "gpuquery.io/v1alpha1", "kind": "GpuQueryJob", "metadata": metadata, "spec": body}


def pod(**spec: Any) -> Json:
    """Return a job whose pods are to be so."""
    return job(template={"spec": spec})


def noted(**metadata: Any) -> Json:
    """Return a job whose pods carry these labels or annotations."""
    return job(template={"metadata": metadata})


def attached(**dask: Any) -> Json:
    """Return a job on a running Dask cluster."""
    return job(engine="rapidsmpf", dask=dask)


FILE = {"configMapKeyRef": {"name": "queries", "key": "q.py"}}
EVERYTHING = [{"operator": "Exists"}]
SYSTEM = pod(priorityClassName="system-node-critical")

TABLE = job(inputs=[{"name": "t", "table": {"catalog": "lake", "name": "sales.orders"}}])
WRITTEN_TABLE = job(output={"table": {"catalog": "lake", "name": "sales.orders"}})
CLAIM = pod(volumes=[{"name": "v", "mountPath": "/mnt/v", "persistentVolumeClaim": {"claimName": "lake-2"}}])

ALLOWED: list[Any] = [
    pytest.param(job(), {}, {}, id="what asks for nothing"),
    pytest.param(job(runtime={"image": "evil:1"}), {}, {}, id="any image, as long as nobody bounds them"),
    pytest.param(
        job(runtime={"image": "r.example.com/a:1"}), {"images": ["r.example.com/*"]}, {}, id="an image of a registry"
    ),
    pytest.param(job(), {"images": []}, {}, id="the operator's own image where jobs may name none"),
    pytest.param(job(storage={"serviceAccountName": "etl-1"}), {"serviceAccounts": ["etl-*"]}, {}, id="an account"),
    pytest.param(
        attached(schedulerAddress="tls://warm:1", tlsSecretName="lake-tls"), {"secrets": ["lake-*"]}, {}, id="a Secret"
    ),
    pytest.param(pod(priorityClassName="batch"), {}, {}, id="a priority class"),
    pytest.param(pod(runtimeClassName="nvidia"), {"runtimeClasses": ["nvidia"]}, {}, id="a runtime class"),
    pytest.param(SYSTEM, {"priorityClasses": ["*"]}, {}, id="one of the system where that is allowed"),
    pytest.param(pod(tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}]), {}, {}, id="GPU nodes"),
    pytest.param(pod(tolerations=EVERYTHING), {"tolerateEverything": True}, {}, id="all nodes where that is allowed"),
    pytest.param(noted(annotations={"team": "marts"}, labels={"app": "etl"}), {}, {}, id="labels and annotations"),
    pytest.param(job(), {"endpoints": ["https://s3.amazonaws.com"]}, {}, id="no endpoint, which is AWS"),
    pytest.param(
        job(storage={"endpoint": "http://lake:8333"}), {"endpoints": ["http://lake:*"]}, {}, id="a store of our own"
    ),
    pytest.param(TABLE, {"secrets": ["lake*"]}, {}, id="a Secret that is a catalog"),
    pytest.param(WRITTEN_TABLE, {"secrets": ["lake*"]}, {}, id="a Secret that is an output's catalog"),
    pytest.param(CLAIM, {"claims": ["lake-*"]}, {}, id="a claim"),
    pytest.param(attached(schedulerAddress="tcp://warm:8786"), {"schedulers": ["tcp://warm:*"]}, {}, id="a scheduler"),
    pytest.param(job(query={"python": "def query(): ..."}), {}, {}, id="Python"),
    pytest.param(
        job(runtime={"image": "a/b"}), {"images": []}, {"allow-images": "c/*, a/b"}, id="what the namespace allows more"
    ),
    pytest.param(job(query=FILE), {"python": False}, {"allow-python": "true"}, id="Python in one namespace alone"),
    pytest.param(
        pod(tolerations=EVERYTHING), {}, {"allow-tolerate-everything": "true"}, id="all nodes for one namespace"
    ),
    pytest.param(job(), {}, {"allow-labels": ""}, id="what asks for none where none is allowed"),
]  # fmt: skip
"""A job, values below `policy`, annotations of the namespace without their domain."""

REFUSED: list[Any] = [
    pytest.param(job(runtime={"image": "evil:1"}), {"images": ["r.example.com/*"]}, {}, "evil:1", id="another image"),
    pytest.param(
        job(runtime={"image": "rXexample.com/a"}), {"images": ["r.example.com/*"]}, {}, "rXexample", id="a dot is a dot"
    ),
    pytest.param(
        job(runtime={"image": "x/r.example.com/a"}), {"images": ["r.example.com/*"]}, {}, "x/r", id="all of it counts"
    ),
    pytest.param(
        job(runtime={"image": "r/evil:1"}), {"images": ["!r/evil*", "r/*"]}, {}, "r/evil", id="what is taken away"
    ),
    pytest.param(
        job(storage={"serviceAccountName": "admin"}), {"serviceAccounts": ["etl-*"]}, {}, "admin", id="another account"
    ),
    pytest.param(job(storage={"secretName": "payroll"}), {"secrets": ["lake*"]}, {}, "payroll", id="another Secret"),
    pytest.param(
        attached(schedulerAddress="tls://warm:1", tlsSecretName="ingress"), {"secrets": ["lake*"]}, {}, "ingress",
        id="or one with certificates",
    ),
    pytest.param(pod(imagePullSecrets=[{"name": "robot"}]), {"secrets": []}, {}, "robot", id="or one of a registry"),
    pytest.param(SYSTEM, {}, {}, "system-node-critical", id="a priority above everybody"),
    pytest.param(pod(runtimeClassName="kata"), {"runtimeClasses": ["nvidia"]}, {}, "kata", id="a runtime class"),
    pytest.param(pod(tolerations=EVERYTHING), {}, {}, "every taint", id="all nodes at once"),
    pytest.param(pod(tolerations=[{"key": "", "operator": "Exists"}]), {}, {}, "every taint", id="and in other words"),
    pytest.param(
        pod(tolerations=[{"key": "gpu"}, {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]),
        {}, {}, "control-plane", id="the nodes of the control plane",
    ),
    pytest.param(noted(annotations={"iam.amazonaws.com/role": "admin"}), {}, {}, "iam.amazonaws.com/role", id="a role"),
    pytest.param(noted(labels={"app": "lake"}), {"labels": ["team"]}, {}, '"app"', id="a label that a Service selects"),
    pytest.param(
        job(storage={"endpoint": "http://spy:1"}), {"endpoints": ["http://lake:*"]}, {}, "http://spy:1", id="a spy"
    ),
    pytest.param(job(), {"endpoints": ["http://lake:*"]}, {}, "s3.amazonaws.com", id="AWS, by leaving it out"),
    pytest.param(
        job(storage={"endpoint": "http://lake:1", "gs": {"endpoint": "http://spy:1"}}),
        {"endpoints": ["http://lake:*"]}, {}, "http://spy:1", id="a spy in place of Google",
    ),
    pytest.param(TABLE, {"secrets": ["etl-*"]}, {}, "inputs", id="a Secret that is a catalog"),
    pytest.param(
        WRITTEN_TABLE, {"secrets": ["etl-*"]}, {}, "output.table.catalog", id="a Secret that is an output's catalog"
    ),
    pytest.param(CLAIM, {"claims": ["etl-*"]}, {}, "lake-2", id="somebody's claim"),
    pytest.param(attached(schedulerAddress="tcp://x:1"), {"schedulers": []}, {}, "tcp://x:1", id="a scheduler"),
    pytest.param(job(query={"python": "def query(): ..."}), {"python": False}, {}, "query.python", id="Python"),
    pytest.param(job(query=FILE), {"python": False}, {}, "q.py", id="Python of a ConfigMap"),
    pytest.param(
        job(runtime={"image": "a/b"}), {}, {"allow-images": "c/*,d"}, "a/b", id="what the namespace allows less"
    ),
    pytest.param(
        job(runtime={"image": "a/b"}), {}, {"allow-images": ""}, "none", id="anything where the namespace allows none"
    ),
    pytest.param(job(query=FILE), {}, {"allow-python": "false"}, "q.py", id="Python in one namespace"),
    pytest.param(
        job(runtime={"image": "a/b"}), {}, {"allow-images": "a(b"}, "allow-images", id="a bound that cannot be read"
    ),
    pytest.param(job(query=FILE), {}, {"allow-python": "perhaps"}, "allow-python", id="a switch that cannot be read"),
]  # fmt: skip
"""The same, and a word of the refusal."""
