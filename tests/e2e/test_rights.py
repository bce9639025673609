"""Rights on a real API server: who may do what, which jobs it refuses, and what the operator's account cannot do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gpuquery.api.labels import GROUP, LABEL_JOB
from gpuquery.api.types import GpuQueryJob
from gpuquery.plan.policy import Policy, annotation, refused
from tests.e2e.jobs import Bench, fresh
from tests.support.policy_tables import ALLOWED, REFUSED, Json, job
from tools import demo
from tools.kubectl import Cluster, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT = f"system:serviceaccount:{demo.SYSTEM}:{demo.RELEASE}"


@pytest.fixture(scope="module")
def home(cluster: Cluster, operator: None) -> Iterator[str]:
    """A namespace of a tenant."""
    name = fresh("rights")
    cluster.run("create", "namespace", name)
    yield name
    cluster.run("delete", "namespace", name, "--wait=false")


def as_annotations(values: Json, notes: dict[str, str]) -> dict[str, str]:
    """Write values of the chart as annotations of a namespace, which stand in place of them."""
    said = {field.alias: annotation(name) for name, field in Policy.model_fields.items()}
    written = {said[name]: str(v).lower() if isinstance(v, bool) else ",".join(v) for name, v in values.items()}
    return written | {f"{GROUP}/{name}": text for name, text in notes.items()}


def test_the_api_server_refuses_what_the_operator_would_refuse_and_nothing_else(cluster: Cluster, home: str) -> None:
    if "gpuquery" not in cluster.run("get", "validatingadmissionpolicies", "-o", "name", check=False):
        pytest.skip("this cluster has no ValidatingAdmissionPolicies")
    rows: dict[str, tuple[str, Json, dict[str, str]]] = {}
    for number, row in enumerate([*ALLOWED, *REFUSED]):
        raw, values, notes, *_ = row.values
        rows[f"row-{number}"] = (str(row.id), raw, as_annotations(values, notes))
    places = {name: f"{home}-{name}" for name in rows}
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": places[name], "annotations": notes}}
        for name, (_, _, notes) in rows.items()
    ]
    cluster.apply(*namespaces)
    try:
        documents = [
            {**raw, "metadata": {"name": name, "namespace": places[name]}} for name, (_, raw, _) in rows.items()
        ]
        said = cluster.run(
            "create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(documents), check=False, timeout=120
        )
        taken = set(re.findall(r"gpuqueryjob\S*/(row-\d+) created", said))
        for name, (words, raw, notes) in rows.items():
            found = refused(GpuQueryJob.model_validate(raw), Policy(), notes)
            assert (name in taken) is (found is None), (words, found, said)
        assert len(re.findall(r"ValidatingAdmissionPolicy '.*' with binding '.*' denied", said)) == len(REFUSED), said
        for row in REFUSED:
            assert row.values[3] in said, row.id
    finally:
        cluster.run("delete", "namespace", *places.values(), "--wait=false", timeout=120)


def may(cluster: Cluster, home: str, user: str, verb: str, resource: str, *flags: str) -> bool:
    said = cluster.run("auth", "can-i", verb, resource, "--as", user, "-n", home, *flags, check=False)
    return said.startswith("yes")


@pytest.mark.parametrize(
    ("role", "does"),
    [
        pytest.param("view", {"get"}, id="who may view sees jobs"),
        pytest.param("edit", {"get", "create", "patch", "delete"}, id="who may edit makes and deletes them"),
        pytest.param("admin", {"get", "create", "patch", "delete"}, id="and so does the namespace's admin"),
    ],
)
def test_the_roles_of_the_cluster_take_jobs_in(cluster: Cluster, home: str, role: str, does: set[str]) -> None:
    user = f"{role}-of-{home}"
    cluster.run("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}", "-n", home)
    wait_until(lambda: may(cluster, home, user, "get", "gpuqueryjobs"), what="the aggregated role")
    for verb in ("get", "create", "patch", "delete"):
        assert may(cluster, home, user, verb, "gpuqueryjobs") is (verb in does), verb
    assert not may(cluster, home, user, "patch", "gpuqueryjobs", "--subresource=status"), "only the operator writes it"


@pytest.mark.parametrize("resource", ["secrets", "configmaps", "services", "networkpolicies"])
@pytest.mark.parametrize("namespace", ["home", "kube-system"])
def test_the_operator_changes_and_deletes_nothing_of_others(
    cluster: Cluster, home: str, resource: str, namespace: str
) -> None:
    where = home if namespace == "home" else namespace
    for verb in ("update", "patch", "delete", "deletecollection"):
        assert not may(cluster, where, ACCOUNT, verb, resource), verb


LOOK = """
import os
def query(inputs, params):
    found = [os.path.join(at, f) for at, _, files in os.walk("/var/run/secrets") for f in files]
    raise RuntimeError(f"tokens: {found}; metadata: {os.environ.get('AWS_EC2_METADATA_DISABLED')}")
"""


def test_a_query_has_no_token_of_the_account_that_it_names_and_is_bound_by_a_policy(bench: Bench) -> None:
    account = fresh("mighty")
    bench.cluster.run("create", "serviceaccount", account, "-n", bench.namespace)
    try:
        name = fresh("curious")
        failed = bench.failed(bench.job(name, python=LOOK, storage={"serviceAccountName": account}))
        assert "tokens: []; metadata: true" in failed["message"], failed
        (pod,) = bench.pods(name)
        assert pod["spec"]["serviceAccountName"] == account
        (policy,) = bench.cluster.get("networkpolicies", "-n", bench.namespace, "-l", f"{LABEL_JOB}={name}")["items"]
        chosen = policy["spec"]["podSelector"]["matchLabels"]
        assert chosen.items() <= pod["metadata"]["labels"].items()
    finally:
        bench.cluster.run("delete", "serviceaccount", account, "-n", bench.namespace, "--wait=false")


RUNNER = {
    "name": "runner",
    "image": "x",
    "securityContext": {"runAsNonRoot": True, "allowPrivilegeEscalation": False},
}


def batch_job(owner: Json | None, **pod: Any) -> Json:
    """A Job as the operator would make one for an owner."""
    spec = {
        "restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [RUNNER], "volumes": [], **pod,
    }  # fmt: skip
    metadata: Json = {"name": fresh("job")}
    if owner:
        metadata["ownerReferences"] = [{"name": "x", "uid": "0a1b2c3d-0000-4000-8000-000000000001", **owner}]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": spec}}}


OURS = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "GpuQueryJob"}


@pytest.mark.parametrize(
    ("document", "place", "word"),
    [
        pytest.param(batch_job(OURS), "home", "", id="a Job of a GpuQueryJob is its own"),
        pytest.param(batch_job(None), "home", "owns", id="a Job of nobody is not"),
        pytest.param(
            batch_job({"apiVersion": "apps/v1", "kind": "Deployment"}), "home", "owns", id="nor is one of others"
        ),
        pytest.param(batch_job(OURS), "kube-system", "Kubernetes itself", id="none where Kubernetes lives"),
        pytest.param(batch_job(OURS, hostNetwork=True), "home", "restricted", id="no pod in the node's network"),
        pytest.param(
            batch_job(OURS, automountServiceAccountToken=True), "home", "without a token", id="no token of an account"
        ),
        pytest.param(
            batch_job(OURS, volumes=[{"name": "x", "hostPath": {"path": "/"}}]), "home", "restricted", id="no host path"
        ),
    ],
)  # fmt: skip
def test_the_operators_account_makes_only_what_is_its_own(
    cluster: Cluster, home: str, document: Json, place: str, word: str
) -> None:
    where = home if place == "home" else place
    command = ["create", "--dry-run=server", "--validate=ignore", "-n", where, "--as", ACCOUNT, "-f", "-"]
    said = cluster.run(*command, stdin=yaml.safe_dump(document), check=False)
    assert (word in said) if word else ("created (server dry run)" in said), said


def test_the_operators_account_deletes_no_job_of_others_and_no_gpuqueryjob_that_has_not_ended(
    cluster: Cluster, home: str
) -> None:
    theirs = batch_job(None) | {"metadata": {"name": "theirs"}}
    theirs["spec"]["suspend"] = True
    mine = job(startDeadlineSeconds=1) | {"metadata": {"name": "mine"}}
    cluster.apply(theirs, mine, namespace=home)
    for what in ("job/theirs", "gpuqueryjob/mine"):
        said = cluster.run("delete", what, "-n", home, "--as", ACCOUNT, "--dry-run=server", check=False)
        assert "GpuQuery's operator" in said and "deletes only" in said, said
