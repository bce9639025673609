"""What a job may ask for, and what becomes of one that asks for more."""

from __future__ import annotations

from typing import Any

import pytest

from gpuquery.api.labels import GROUP
from gpuquery.api.problems import MOST_TOLD
from gpuquery.api.reasons import Failure
from gpuquery.api.status import GpuQueryJobStatus, PlanStatus
from gpuquery.api.types import GpuQueryJob
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import Plan
from gpuquery.plan.policy import Policy, annotation, asked, refused
from gpuquery.plan.resolve import Rejected, resolve
from tests.support.policy_tables import ALLOWED, REFUSED, Json, job

GPUS = Defaults(runtime_image="runtime:test", runtime_image_pattern="rt:{release}")


def answer(raw: Json, values: Json, notes: dict[str, str]) -> Rejected | None:
    annotations = {f"{GROUP}/{name}": text for name, text in notes.items()}
    return refused(GpuQueryJob.model_validate(raw), Policy.model_validate(values), annotations)


@pytest.mark.parametrize(("raw", "values", "notes"), ALLOWED)
def test_a_job_may_ask_for(raw: Json, values: Json, notes: dict[str, str]) -> None:
    assert answer(raw, values, notes) is None


@pytest.mark.parametrize(("raw", "values", "notes", "word"), REFUSED)
def test_a_job_may_not_ask_for(raw: Json, values: Json, notes: dict[str, str], word: str) -> None:
    found = answer(raw, values, notes)
    assert found is not None and found.reason is Failure.NOT_ALLOWED
    assert word in found.message and "ask the administrator" in found.message


def test_every_bound_has_rows_that_it_lets_through_and_rows_that_it_stops() -> None:
    """A bound that no row meets may be none."""
    stopped = " ".join(str(answer(*row.values[:3])) for row in REFUSED)
    for name, field in Policy.model_fields.items():
        assert f"Helm value policy.{field.alias}," in stopped, name
    through = [GpuQueryJob.model_validate(row.values[0]).spec for row in ALLOWED]
    found = [asked(spec) for spec in through]
    for name in found[0]:
        assert any(asks[name] for asks in found), name
    assert set(found[0]) | {"tolerate_everything", "python"} == set(Policy.model_fields)


def test_a_refusal_names_field_value_what_is_allowed_and_who_can_change_it() -> None:
    found = answer(job(storage={"serviceAccountName": "admin"}), {"serviceAccounts": ["etl-*", "lake"]}, {})
    assert found is not None and found.message == (
        'storage.serviceAccountName is "admin", which is not allowed here (allowed: etl-*, lake): use another, or ask '
        "the administrator (Helm value policy.serviceAccounts, or the annotation gpuquery.io/allow-service-accounts of "
        "the namespace)"
    )


def test_all_that_is_not_allowed_is_told_at_once_up_to_ten() -> None:
    two = answer(job(runtime={"image": "x"}, query={"python": "def query(): ..."}), {"images": [], "python": False}, {})
    assert two is not None and "runtime.image" in two.message and "query.python" in two.message
    labels = {f"l{n}": "x" for n in range(MOST_TOLD + 3)}
    many = answer(job(template={"metadata": {"labels": labels}}), {"labels": []}, {})
    assert many is not None and many.message.count("is not allowed here") == MOST_TOLD
    assert many.message.endswith("; and 3 more")


def test_a_plan_is_made_only_of_what_is_allowed_and_an_accepted_job_keeps_what_it_has() -> None:
    raw = job(runtime={"image": "evil:1"})
    bound = GPUS.model_copy(update={"policy": Policy(images=("r.example.com/*",))})
    subject = GpuQueryJob.model_validate(raw)
    found = resolve(subject, bound)
    assert isinstance(found, Rejected) and found.reason is Failure.NOT_ALLOWED
    told = PlanStatus(engine="cpu", cluster="single", image="evil:1", replicas=1, gpus=0, why="x", query_digest="x")
    accepted = subject.model_copy(update={"status": GpuQueryJobStatus(plan=told)})
    assert isinstance(resolve(accepted, bound), Plan), "bounds concern new jobs, as defaults do"
    assert isinstance(resolve(subject, bound, local=True), Plan), "on one's own machine nobody else decides"


@pytest.mark.parametrize("pattern", ["", "!", "a b", "a+", "[a]", "a$", "a\nb", "x" * 254])
def test_a_pattern_that_would_mean_more_than_it_says_is_none(pattern: str) -> None:
    with pytest.raises(ValueError, match="images"):
        Policy.model_validate({"images": [pattern]})


def test_bounds_of_a_namespace_have_names_that_are_told_apart() -> None:
    names: list[Any] = [annotation(name) for name in Policy.model_fields]
    assert len(set(names)) == len(names) and annotation("service_accounts") == "gpuquery.io/allow-service-accounts"
