"""From what a preflight found to the GPUs that are asked for: none before, and those of the final plan after."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.labels import PLAN_KEY
from gpuquery.api.reasons import Reason
from gpuquery.api.report import Report
from gpuquery.api.status import PreflightStatus
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.preflight import sizes
from tests.support.kube_objects import DEFAULTS, at, attempt, check, checking, condition, ended, job, seen, step, told

if TYPE_CHECKING:
    from gpuquery.api.types import GpuQueryJob
    from gpuquery.plan.defaults import Defaults
    from gpuquery.reconcile.decide.job import Decision

GPU = DEFAULTS.model_copy(update={"runtime_image_pattern": "rapids:{release}"})
BIG = PreflightStatus(
    release="26.10", polars="1.44.2", files=900, rows=10**10, input_bytes=3 * 10**12, peak_bytes=3 * 10**12, basis="all"
)
SMALL = BIG.model_copy(update={"files": 1, "rows": 10, "input_bytes": 400, "peak_bytes": 400})
UNKNOWN = PreflightStatus(release="26.10", polars="1.44.2", warnings=("the sizes could not be estimated: why",))


def first(defaults: Defaults = GPU, **spec: Any) -> tuple[GpuQueryJob, Decision]:
    """The first look at a job."""
    return step(job(**spec), defaults=defaults)


def then(found: PreflightStatus, **spec: Any) -> tuple[GpuQueryJob, Decision]:
    """The look at a job whose preflight has found this."""
    passed = checking(check(ended(0, Report(preflight=found), finished=at(3))))
    return step(first(**spec)[0], passed, seconds=4, defaults=GPU)


def gpus(decision: Decision) -> int:
    """GPUs that are asked for in all."""
    jobs = [o["spec"] for o in decision.creates if o["kind"] == "Job"]
    limits = [(j["completions"], j["template"]["spec"]["containers"][0]["resources"].get("limits", {})) for j in jobs]
    return sum(count * int(limit.get("nvidia.com/gpu", 0)) for count, limit in limits)


def test_where_the_size_decides_no_gpu_is_asked_for_before_it_is_known() -> None:
    subject, decision = first()
    _, batch, _ = decision.creates
    (container,) = batch["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "rapids:26.10", "the image of the query itself"
    assert gpus(decision) == 0 and "nvidia.com" not in json.dumps(decision.creates)
    assert subject.status.state == "Preflight" and subject.status.plan is None
    assert "rapidsmpf" in condition(subject, "Accepted").message


def test_afterwards_the_plan_has_as_many_gpus_as_the_data_needs() -> None:
    subject, decision = then(BIG)
    plan = subject.status.plan
    assert plan and plan.replicas * plan.gpus > 8 and plan.cluster == "distributed" and plan.sizing
    assert gpus(decision) == plan.replicas * plan.gpus
    document = json.loads(decision.creates[-1]["data"][PLAN_KEY])
    assert (document["purpose"], document["replicas"], document["gpus"]) == ("query", plan.replicas, plan.gpus)


def test_the_second_attempt_has_the_plan_of_the_first_whatever_the_defaults_have_become() -> None:
    subject, _ = then(BIG)
    fewer = GPU.model_copy(update={"max_replicas": 1, "runtime_image_pattern": "newer:{release}"})
    gone = seen(attempt(ended(137, finished=at(5))))
    subject, _ = step(subject, gone, seconds=6, defaults=fewer)
    again, decision = step(subject, gone, seconds=60, defaults=fewer)
    assert again.status.attempt == 2 and again.status.plan == subject.status.plan
    assert gpus(decision) == gpus(then(BIG)[1])
    _, batch, *_ = decision.creates
    (container,) = batch["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "rapids:26.10"


def test_data_that_is_too_small_for_a_gpu_gets_none() -> None:
    subject, decision = then(SMALL)
    assert subject.status.plan and subject.status.plan.engine == "cpu" and gpus(decision) == 0
    assert told(subject, "Preflight") == ("True", Reason.PASSED)


def test_sizes_that_could_not_be_estimated_are_not_taken_for_zero() -> None:
    subject, decision = then(UNKNOWN)
    assert subject.status.plan and subject.status.plan.engine == "rapidsmpf" and gpus(decision) == 1
    assert "could not be estimated" in condition(subject, "Preflight").message


def test_an_estimate_that_fails_is_a_warning_and_has_no_basis(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("the plan cannot be read")

    monkeypatch.setattr(sizes.sizing, "estimate", fails)
    found = sizes.filled(PreflightStatus(polars="1.44.2", warnings=("first",)), pl.LazyFrame(), StoreAccess())
    assert found.basis == "" and found.warnings[0] == "first"
    assert found.warnings[1:] == ("the sizes could not be estimated: the plan cannot be read",)


def test_a_dry_run_tells_the_gpus_and_asks_for_none() -> None:
    subject, decision = then(BIG, dryRun=True)
    plan = subject.status.plan
    assert told(subject, "Complete") == ("True", Reason.DRY_RUN) and not decision.creates
    assert plan and plan.why in condition(subject, "Complete").message and plan.replicas * plan.gpus > 8


@pytest.mark.parametrize(
    ("spec", "own"),
    [
        pytest.param({"engine": "tasks", "runtime": {"release": "26.04"}, "cluster": "single"}, False, id="one GPU"),
        pytest.param({"engine": "rapidsmpf", "workers": {"replicas": 1, "gpus": 1}}, False, id="one, as asked for"),
        pytest.param({"engine": "rapidsmpf", "workers": {"replicas": 1, "gpus": 4}}, True, id="four"),
        pytest.param({"engine": "rapidsmpf"}, True, id="by size"),
        pytest.param({"engine": "cpu"}, False, id="none"),
        pytest.param({"engine": "rapidsmpf", "preflight": "never"}, False, id="by size, but never"),
    ],
)
def test_a_pod_of_its_own_or_not(spec: dict[str, Any], own: bool) -> None:
    subject, decision = first(**spec)
    assert (subject.status.preflight_run is not None) is own, subject.status
    assert (gpus(decision) == 0) is (own or spec["engine"] == "cpu")
