"""Maxima: what a job may have at most, which resources it may name itself, and that all problems are told at once."""

from __future__ import annotations

from typing import Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.size import MAX_SPEC_BYTES, oversized
from gpuquery.api.status import GpuQueryJobStatus, PreflightStatus
from gpuquery.api.types import GpuQueryJob
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.maxima import Maxima
from gpuquery.plan.plan import Plan
from gpuquery.plan.rejected import Rejected, invalid, together
from gpuquery.plan.resolve import plan_status, resolve
from tests.support.kube_objects import job
from tests.tenants.stage import megabyte

GB = 10**9


def having(annotations: dict[str, str] | None = None, *, rdma: str = "", **maxima: Any) -> Defaults:
    """An operator with images and maxima, in a namespace with annotations."""
    found = Defaults(
        runtime_image="rt:cpu", runtime_image_pattern="rt:{release}", dask_operator=True, dask_attach=True,
        maxima=Maxima(**maxima), rdma_resource=rdma,
    )  # fmt: skip
    return found.in_namespace({f"gpuquery.io/{name}": value for name, value in (annotations or {}).items()})


def set_of(replicas: int | str, gpus: int | None = None, **more: Any) -> dict[str, Any]:
    """A set of ranks."""
    workers = {"replicas": replicas, **({"gpus": gpus} if gpus is not None else {})}
    return {"engine": "rapidsmpf", "cluster": "distributed", "workers": workers, **more}


def refused(defaults: Defaults, **spec: Any) -> Rejected:
    found = resolve(job(**spec), defaults)
    assert isinstance(found, Rejected), found
    return found


def planned(defaults: Defaults, status: GpuQueryJobStatus | None = None, **spec: Any) -> Plan:
    found = resolve(job(status=status, **spec), defaults)
    assert isinstance(found, Plan), found
    return found


DASK = {"dask": {"backend": "operator"}}
OVER: list[Any] = [
    pytest.param(
        having(), set_of(3000, 1), ["workers.replicas is 3000", "3,000 pods in all", "at most 256 pods", "podsPerJob"],
        id="three thousand pods are too many for any job",
    ),
    pytest.param(
        having(gpus_per_job=64), set_of(16, 8), ["workers.gpus is 8", "128 GPUs", "at most 64 GPUs", "gpusPerJob"],
        id="GPUs count over all pods",
    ),
    pytest.param(
        having({"max-pods": "4"}), set_of(5, 1), ["at most 4 pods", 'max-pods of the namespace "marts"'],
        id="a namespace may have less than the operator allows",
    ),
    pytest.param(
        having({"max-gpus": "1"}), set_of(2, 1), ["at most 1 GPU here", "ask for 1 GPU or fewer"], id="or a single GPU"
    ),
    pytest.param(
        having({"max-gpus": "0"}), set_of(2, 1), ["at most 0 GPUs", 'use engine "cpu"'], id="or no GPU at all"
    ),
    pytest.param(
        having(pods_per_job=9), {**DASK, "workers": {"replicas": 8, "gpus": 1}},
        ["10 pods (with client and scheduler) in all", "at most 9 pods"], id="the pods of a DaskCluster count",
    ),
    pytest.param(
        having(gpus_per_job=8), {**DASK, "workers": {"replicas": 8, "gpus": 1}}, ["9 GPUs (with client", "at most 8"],
        id="and so does the client's GPU",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("defaults", "spec", "words"), OVER)
def test_more_than_a_job_may_have_is_refused_with_who_can_raise_it(
    defaults: Defaults, spec: dict[str, Any], words: list[str]
) -> None:
    found = refused(defaults, **spec)
    assert found.reason is Failure.LIMIT_EXCEEDED
    assert [word for word in [*words, "ask the administrator"] if word not in found.message] == [], found.message


WITHIN: list[Any] = [
    pytest.param(having(), set_of(128, 8), id="as much as is allowed"),
    pytest.param(having({"max-pods": "500"}), set_of(500, 1), id="more than the operator allows, by the annotation"),
    pytest.param(having(pods_per_job=1), {"dask": {"clusterRef": {"name": "warm"}}, "workers": {"replicas": 99}},
                 id="workers of a cluster that the job only uses are somebody else's"),
]  # fmt: skip


@pytest.mark.parametrize(("defaults", "spec"), WITHIN)
def test_what_is_within_the_maxima_is_planned(defaults: Defaults, spec: dict[str, Any]) -> None:
    assert planned(defaults, **spec)


@pytest.mark.parametrize("value", ["many", "-1", "0", "1.5", "10000000", "٣", ""])
def test_an_annotation_that_is_no_number_is_refused_and_named(value: str) -> None:
    found = refused(having({"max-pods": value}), engine="cpu")
    assert "gpuquery.io/max-pods" in found.message and "kubectl annotate --overwrite" in found.message


def test_a_job_that_was_accepted_keeps_its_plan_whatever_the_maxima_have_become() -> None:
    subject = job(**set_of(8, 8))
    told = plan_status(planned(having(), **set_of(8, 8)), subject, having())
    assert planned(having(pods_per_job=1), GpuQueryJobStatus(plan=told), **set_of(8, 8)).replicas == 8


def test_what_is_left_open_is_chosen_within_the_maxima() -> None:
    large = PreflightStatus(polars="1.44.2", input_bytes=900 * GB, peak_bytes=900 * GB, basis="footers")
    status = GpuQueryJobStatus(preflight=large)
    open_ended = {"engine": "rapidsmpf", "cluster": "distributed"}
    assert planned(having(), status, **open_ended).replicas == 16
    assert planned(having({"max-pods": "3"}), status, **open_ended).replicas == 3
    assert planned(having(gpus_per_job=10), status, **open_ended, workers={"gpus": 4}).replicas == 2
    found = planned(having(gpus_per_job=5), status, **DASK)
    assert found.dask is not None and found.dask.workers == 4


def test_where_no_job_may_have_a_gpu_what_asks_for_none_runs_on_the_cpu() -> None:
    assert planned(having()).gpus == 1
    assert planned(having({"max-gpus": "0"})).engine == "cpu"


def naming(resource: str, part: str = "limits", **spec: Any) -> dict[str, Any]:
    """A job that names a resource itself."""
    workers = {**spec.pop("workers", {}), "resources": {part: {resource: 8}}}
    return {"workers": workers, **spec}


DEVICES: list[Any] = [
    pytest.param(naming("nvidia.com/gpu", engine="cpu"), ["on the CPU", "workers.gpus"], id="GPUs of a CPU job"),
    pytest.param(naming("nvidia.com/gpu", "requests", engine="cpu"), ["requests names nvidia"], id="as requests"),
    pytest.param(naming("nvidia.com/gpu", **set_of(2, 4)), ["say in workers.gpus how many"], id="round workers.gpus"),
    pytest.param(naming("nvidia.com/mig-1g.10gb", engine="cpu"), ["may be a device", "extended"], id="a slice"),
    pytest.param(naming("amd.com/gpu", **set_of(2, 4)), ["may be a device"], id="another maker's"),
    pytest.param(naming("rdma/hca_a", engine="cpu"), ['network is "auto"', 'network "rdma"'], id="a network card"),
    pytest.param(naming("rdma/hca_b", **set_of(2, 4, network="rdma")), ["rdma/hca_b"], id="one that is not the plan's"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "words"), DEVICES)
def test_a_device_that_the_plan_does_not_tell_is_refused(spec: dict[str, Any], words: list[str]) -> None:
    found = refused(having(rdma="rdma/hca_a"), **spec)
    assert [word for word in [*words, "workers.resources."] if word not in found.message] == [], found.message


def test_what_is_no_device_is_taken_and_what_the_administrator_names() -> None:
    plain = {"resources": {"limits": {"cpu": 4, "memory": "8Gi", "ephemeral-storage": "1Gi", "hugepages-2Mi": "4Mi"}}}
    assert planned(having(), engine="cpu", workers=plain)
    assert planned(having(extended_resources=("example.com/fuse",)), **naming("example.com/fuse", engine="cpu"))
    assert planned(having(rdma="rdma/hca_a"), **naming("rdma/hca_a", **set_of(2, 4, network="rdma")))


def test_everything_that_is_wrong_is_told_at_once_and_the_class_is_the_first_of_the_list() -> None:
    found = refused(
        having(pods_per_job=4, rdma=""),
        **naming("amd.com/gpu", **set_of(8, 2, network="rdma")),
        output={"uri": "file:///out"},
        query={"configMapKeyRef": {"name": "q", "key": "q.sql"}},
        executorOptions={"falback_mode": "raise", "max_rows": 1},
    )
    assert found.reason is Failure.INVALID_QUERY and found.message.startswith("7 problems: (1) query.configMapKeyRef")
    for words in ("InvalidInput: output.uri", "InvalidCombination: network", "LimitExceeded: workers",
                  "amd.com",                  "executorOptions.falback_mode", "executorOptions.max_rows"):  # fmt: skip
        assert words in found.message
    assert "\n" not in found.message


def test_a_job_on_the_cpu_is_told_all_that_it_cannot_have() -> None:
    spec = {"workers": {"gpus": 0}, "executorOptions": {"fallback_mode": "raise"}, "network": "tcp"}
    found = refused(having(), **spec)
    assert found.message.startswith("2 problems: (1) executorOptions") and "(2) network" in found.message


def test_ten_problems_are_told_and_how_many_more_there_are() -> None:
    found = together(*(invalid(f"field {number}") for number in range(12)), invalid("field 0"), None)
    assert found is not None and len(found.parts) == 12
    assert "(10) field 9." in found.message and found.message.endswith("And 2 more.") and "(11)" not in found.message


def test_one_problem_is_told_as_it_is_and_none_is_no_refusal() -> None:
    assert together(invalid("why"), None) == invalid("why")
    assert together(None) is None


def test_a_megabyte_where_the_api_server_measures_nothing_is_taken_by_it_and_refused_by_the_operator() -> None:
    """The attack of tests/tenants is one only as long as this is so."""
    attack = megabyte("big")
    measured = {name: value for name, value in attack["spec"].items() if name != "executorOptions"}
    assert 900_000 < len(str(attack)) < 1_500_000, "an API server takes no object over 1.5 MB"
    assert len(str(measured)) < MAX_SPEC_BYTES
    assert GpuQueryJob.model_validate(attack).spec.executor_options, "no bound of a field, and no rule, refuses it"
    assert "spec is too large" in (oversized(attack["spec"]) or "")
