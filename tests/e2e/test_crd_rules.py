"""What the API server refuses and takes when a job is applied, without any operator: the CRD alone decides."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from gpuquery.api import scheduling
from tests.e2e.jobs import fresh
from tests.support.job_tables import AFFINITY, REFUSED, SPREAD, TAKEN, TYPOS, job
from tools.kubectl import ROOT, Cluster, KubectlError, wait_until

CRD = "gpuqueryjobs.gpuquery.io"
BEFORE = job()
BEFORE["metadata"]["annotations"] = {"gpuquery.io/e2e": "rules"}
CHANGES: list[Any] = [
    pytest.param({"query": {"sql": "SELECT 2"}}, "query", id="query"),
    pytest.param({"query": {"python": "def query(inputs, params): ..."}}, "query", id="the kind of query"),
    pytest.param({"inputs": []}, "inputs", id="inputs"),
    pytest.param({"parameters": {"a": {"integer": 1}}}, "parameters", id="a parameter that comes"),
    pytest.param({"output": {"uri": "s3://lake/elsewhere"}}, "output", id="output"),
    pytest.param({"engine": "cpu"}, "engine", id="engine"),
    pytest.param({"cluster": "single"}, "cluster", id="cluster"),
    pytest.param({"scheduler": "synchronous"}, "scheduler", id="scheduler"),
    pytest.param({"runtime": {"release": "26.04"}}, "runtime", id="release"),
    pytest.param({"dask": {"backend": "native"}}, "dask", id="dask"),
    pytest.param({"executorOptions": {"fallback_mode": "raise"}}, "executorOptions", id="executorOptions"),
    pytest.param({"workers": {"gpus": 2}}, "workers", id="gpus"),
    pytest.param({"workers": {"resources": {"limits": {"memory": "8Gi"}}}}, "workers", id="workers"),
    pytest.param({"runtime": {"image": "other"}}, "runtime", id="runtime"),
    pytest.param({"storage": {"region": "eu-west-1"}}, "storage", id="storage"),
    pytest.param({"template": {"spec": {"affinity": {"podAffinity": {}}}}}, "template", id="template"),
    pytest.param({"backoffLimit": 3}, "backoffLimit", id="backoffLimit"),
    pytest.param({"startDeadlineSeconds": 60}, "startDeadlineSeconds", id="startDeadlineSeconds"),
]


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Cluster:
    """The cluster with the CRD of this checkout; a copy that a Helm release owns is left as it is."""
    path = str(ROOT / "crds" / "gpuquery.io_gpuqueryjobs.yaml")
    if "helm" not in cluster.run("get", "crd", CRD, "-o", "jsonpath={.metadata.labels}", check=False).lower():
        cluster.run("apply", "--server-side", "-f", path)
    cluster.run("wait", "--for=condition=Established", f"crd/{CRD}", "--timeout=30s")
    wait_until(lambda: "backoffLimit" in explained(cluster, "spec"), what="the schema to be published")
    return cluster


@contextmanager
def fresh_namespace(api: Cluster) -> Iterator[str]:
    name = fresh("rules")
    api.run("create", "namespace", name)
    yield name
    api.run("delete", "namespace", name, "--wait=false")


@pytest.fixture
def namespace(api: Cluster) -> Iterator[str]:
    """A namespace that is gone afterwards, with all that is in it."""
    with fresh_namespace(api) as name:
        yield name


@pytest.fixture(scope="module")
def unchanged(api: Cluster) -> Iterator[str]:
    """A namespace with a job that nobody may change."""
    with fresh_namespace(api) as name:
        api.apply(BEFORE, namespace=name)
        yield name


def explained(cluster: Cluster, path: str) -> str:
    return cluster.run("explain", f"gpuqueryjobs.{path}", check=False)


Judge = Callable[[dict[str, Any]], str]
"""Takes a job; returns what the API server says if it takes it, and raises what it says if not."""


@pytest.fixture(scope="module")
def judge(api: Cluster) -> Iterator[Judge]:
    """Lets the API server judge a job without keeping it.

    It is asked as `kubectl create --dry-run=server --validate=strict` asks, which would start two hundred times for it.
    """
    proxy = subprocess.Popen(
        api.command("proxy", "--port=0"), env=api.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said = proxy.stdout.readline() if proxy.stdout else ""
        found = re.search(r"127\.0\.0\.1:\d+", said)
        assert found, said
        place = f"http://{found.group()}/apis/gpuquery.io/v1alpha1/namespaces/default/gpuqueryjobs"

        def ask(document: dict[str, Any]) -> str:
            request = urllib.request.Request(
                f"{place}?dryRun=All&fieldValidation=Strict",
                data=json.dumps(document).encode(),
                headers={"Content-Type": "application/json"},
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return f"{answer.status} {answer.reason}"
            except urllib.error.HTTPError as error:
                raise KubectlError(json.load(error)["message"]) from None

        yield ask
    finally:
        proxy.terminate()
        proxy.wait(10)


@pytest.mark.parametrize(("document", "place", "word"), REFUSED)
def test_a_bad_job_is_refused_at_apply(judge: Judge, document: dict[str, Any], place: str, word: str) -> None:
    with pytest.raises(KubectlError) as refused:
        judge(document)
    text = str(refused.value)
    assert place in text
    assert word.lower() in text.lower()


def test_a_day_that_does_not_exist_is_refused_at_apply(judge: Judge) -> None:
    with pytest.raises(KubectlError, match="1994-02-31"):
        judge(job(parameters={"since": {"date": "1994-02-31"}}))


@pytest.mark.parametrize(("document", "typo", "meant"), TYPOS)
def test_a_typo_is_refused_under_strict_validation(
    judge: Judge, document: dict[str, Any], typo: str, meant: str
) -> None:
    with pytest.raises(KubectlError, match=f'unknown field "spec.*{typo}"'):
        judge(document)


@pytest.mark.parametrize("document", TAKEN)
def test_a_good_job_is_taken(judge: Judge, document: dict[str, Any]) -> None:
    assert judge(document) == "201 Created"


def test_a_generated_name_is_taken(judge: Judge) -> None:
    assert judge({**job(), "metadata": {"generateName": "nightly-"}}) == "201 Created"


def test_kubectl_passes_on_what_the_api_server_says(api: Cluster) -> None:
    """That it asks strictly, for one; the tests before ask in its place."""
    create = ("create", "--dry-run=server", "--validate=strict", "-n", "default", "-f", "-")
    assert "created" in api.run(*create, stdin=json.dumps(job()))
    document, typo, _ = TYPOS[0].values
    with pytest.raises(KubectlError, match=f'unknown field "spec.*{typo}"'):
        api.run(*create, stdin=json.dumps(document))


@pytest.mark.parametrize(("change", "field"), CHANGES)
def test_the_spec_is_immutable_and_the_message_names_field_and_way_out(
    api: Cluster, unchanged: str, change: dict[str, Any], field: str
) -> None:
    after = copy.deepcopy(BEFORE)
    after["spec"] |= change
    with pytest.raises(KubectlError, match=f"spec.{field} is immutable: delete the job and apply it again"):
        api.apply(after, namespace=unchanged)


def test_deadline_and_time_to_live_may_change_and_go_again(api: Cluster, namespace: str) -> None:
    for more in ({"activeDeadlineSeconds": 5}, {"ttlSecondsAfterFinished": 60}, {}):
        api.apply(job(**more), namespace=namespace)


def test_a_stored_job_shows_its_defaults(api: Cluster, namespace: str) -> None:
    api.apply(job(), namespace=namespace)
    spec = api.get("gqj", "table-job", "-n", namespace)["spec"]
    assert (spec["engine"], spec["cluster"], spec["backoffLimit"], spec["startDeadlineSeconds"]) == (
        "auto", "auto", 2, 600,
    )  # fmt: skip
    assert (spec["output"]["mode"], spec["output"]["compression"]) == ("errorIfExists", "zstd")


def test_where_pods_run_is_kept_as_it_was_written(api: Cluster, namespace: str) -> None:
    tolerations = [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 5}]
    said = {"tolerations": tolerations, "affinity": AFFINITY, "topologySpreadConstraints": [SPREAD]}
    api.apply(job(template={"spec": said}), namespace=namespace)
    assert api.get("gqj", "table-job", "-n", namespace)["spec"]["template"]["spec"] == said


@pytest.mark.parametrize("kind", ["Affinity", "Toleration", "TopologySpreadConstraint"])
def test_where_pods_run_is_said_in_the_fields_that_the_api_server_knows(api: Cluster, kind: str) -> None:
    """Each field of ours is one of the pods' own; a newer API server may have more."""
    schemas = json.loads(api.run("get", "--raw", "/openapi/v3/api/v1"))["components"]["schemas"]

    def unknown(model: type[BaseModel], theirs: dict[str, Any], path: str) -> Iterator[str]:
        theirs = resolved(theirs)
        for field in model.model_fields.values():
            if field.alias not in theirs["properties"]:
                yield f"{path}.{field.alias}"
                continue
            inner, known = _model_of(field.annotation), resolved(theirs["properties"][field.alias])
            if inner is not None:
                yield from unknown(inner, known.get("items", known), f"{path}.{field.alias}")

    def resolved(node: dict[str, Any]) -> dict[str, Any]:
        for inner in (node, *node.get("allOf", ())):
            if "$ref" in inner:
                return resolved(schemas[inner["$ref"].rpartition("/")[2]])
        return node

    found = schemas[f"io.k8s.api.core.v1.{kind}"]
    assert list(unknown(getattr(scheduling, kind), found, kind)) == []


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The model in the type of a field, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_of(inner)) is not None), None)


def test_kubectl_get_shows_the_state_and_says_more_when_wide(api: Cluster, namespace: str) -> None:
    api.apply(job(), namespace=namespace)
    short = api.run("get", "gqj", "-n", namespace).splitlines()[0].split()
    assert short[:2] == ["NAME", "STATE"]
    assert short[-1] == "AGE"
    assert {"ROWS", "ATTEMPT", "ENGINE"} <= set(short)
    assert "s3://lake/out/x" in api.run("get", "gqj", "-n", namespace, "-o", "wide")
    assert "table-job" in api.run("get", "all", "-n", namespace), "the category `all` has jobs in it"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("spec", "How many failed attempts"),
        ("spec.query", "exactly one of"),
        ("spec.inputs.uri", "a glob"),
        ("spec.output.mode", "errorIfExists"),
        ("spec.parameters", "Typed values"),
        ("status.conditions", "Exactly one of the last two"),
    ],
)
def test_kubectl_explain_reads_like_documentation(api: Cluster, path: str, words: str) -> None:
    assert words in " ".join(explained(api, path).split())
