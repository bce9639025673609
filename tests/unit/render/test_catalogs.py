"""Catalogs that a job reads from or writes to: what the plan has of them, and which keys of Secrets the pods get."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gpuquery.api.catalogs import OPTIONS, variable
from gpuquery.api.output import Output
from gpuquery.app.settings import Settings
from gpuquery.plan.defaults import Defaults
from gpuquery.plan.plan import Plan
from gpuquery.plan.policy import Policy
from gpuquery.plan.rejected import Rejected
from gpuquery.plan.resolve import plan_json, resolve
from gpuquery.render.attempt import attempt_objects
from gpuquery.render.preflight import preflight_objects
from tests.support.kube_objects import job

LAKE = {"uri": "https://catalog.example.com", "warehouse": "prod", "secretName": "lake-token"}
DECLARED = Defaults(catalogs={"lake": LAKE, "open": {"uri": "https://open.example.com"}})


def reading(*catalogs: str) -> Any:
    inputs = [
        {"name": f"t{number}", "table": {"catalog": name, "name": "sales.orders"}}
        for number, name in enumerate(catalogs)
    ]
    return job(engine="cpu", inputs=inputs)


def writing(catalog: str, *read: str) -> Any:
    subject = reading(*read)
    output = Output.model_validate({"table": {"catalog": catalog, "name": "sales.totals"}})
    return subject.model_copy(update={"spec": subject.spec.model_copy(update={"output": output})})


def planned(subject: Any, defaults: Defaults = DECLARED) -> Plan:
    found = resolve(subject, defaults)
    assert isinstance(found, Plan), found
    return found


def variables(objects: list[dict[str, Any]]) -> dict[str, tuple[str, str, bool]]:
    """Secret, key and whether it may be missing, by variable of a catalog."""
    (spec,) = (one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Job")
    (container,) = spec["containers"]
    found = {v["name"]: v["valueFrom"]["secretKeyRef"] for v in container["env"] if v["name"].startswith("PYICEBERG")}
    return {name: (ref["name"], ref["key"], ref.get("optional", False)) for name, ref in found.items()}


SECRETS = {
    "PYICEBERG_CATALOG__LAKE__TOKEN": ("lake-token", "token", True),
    "PYICEBERG_CATALOG__LAKE__CREDENTIAL": ("lake-token", "credential", True),
}
OWN = {variable("mine", key): ("mine", key, key != "uri") for key in OPTIONS}


@pytest.mark.parametrize(
    ("catalogs", "told", "secrets"),
    [
        pytest.param(["open"], ["open"], {}, id="a declared catalog without secrets"),
        pytest.param(["lake"], ["lake"], SECRETS, id="a declared one names its Secret"),
        pytest.param(["mine"], [], OWN, id="any other is a Secret of the namespace"),
        pytest.param(["mine", "mine", "lake"], ["lake"], OWN | SECRETS, id="each once"),
    ],
)
def test_pods_know_the_catalogs_of_their_inputs(catalogs: list[str], told: list[str], secrets: dict[str, Any]) -> None:
    subject = reading(*catalogs)
    plan = planned(subject)
    assert list(plan.store.catalogs or ()) == told
    assert variables(attempt_objects(plan, subject, DECLARED)) == secrets
    assert variables(preflight_objects(plan, subject, DECLARED, 1)) == secrets


@pytest.mark.parametrize(
    ("subject", "told", "secrets"),
    [
        pytest.param(writing("lake"), ["lake"], SECRETS, id="a declared catalog"),
        pytest.param(writing("mine"), [], OWN, id="a Secret of the namespace"),
        pytest.param(writing("lake", "lake"), ["lake"], SECRETS, id="one that is read as well"),
        pytest.param(writing("lake", "mine"), ["lake"], OWN | SECRETS, id="another than is read"),
    ],
)
def test_pods_know_the_catalog_of_their_output(subject: Any, told: list[str], secrets: dict[str, Any]) -> None:
    plan = planned(subject)
    assert list(plan.store.catalogs or ()) == told
    assert variables(attempt_objects(plan, subject, DECLARED)) == secrets
    assert variables(preflight_objects(plan, subject, DECLARED, 1)) == secrets


def test_the_plan_says_where_a_catalog_is_and_not_which_secret_opens_it() -> None:
    plan = planned(reading("lake"))
    assert plan.store.catalogs == {"lake": {"uri": "https://catalog.example.com", "warehouse": "prod"}}
    assert "lake-token" not in plan_json(plan)
    assert Plan.model_validate_json(plan_json(plan)).store == plan.store


def test_a_secret_as_a_catalog_is_bound_by_the_policy_and_a_declared_one_is_not() -> None:
    bound = DECLARED.model_copy(update={"policy": Policy(secrets=("team-*",))})
    assert isinstance(resolve(reading("lake", "team-a"), bound), Plan)
    refused = resolve(reading("mine"), bound)
    assert isinstance(refused, Rejected)
    assert 'inputs[t0].table.catalog is "mine", which is not allowed here' in refused.message
    assert isinstance(resolve(writing("lake"), bound), Plan)
    refused = resolve(writing("mine"), bound)
    assert isinstance(refused, Rejected)
    assert 'output.table.catalog is "mine", which is not allowed here' in refused.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param('{"lake": {"warehouse": "w"}}', "lake has no uri", id="nowhere"),
        pytest.param('{"lake": {"uri": "u", "token": "t"}}', "put it into a Secret", id="a secret among the values"),
        pytest.param('{"lake": {"uri": "u", "wharehouse": "w"}}', "lake has the option wharehouse", id="misspelt"),
    ],
)
def test_a_declaration_that_is_wrong_is_told_to_the_administrator(text: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings.from_environment({"GPUQUERY_CATALOGS": text})


def test_declarations_come_from_the_environment() -> None:
    found = Settings.from_environment({"GPUQUERY_CATALOGS": '{"lake": {"uri": "https://a", "secretName": "s"}}'})
    assert found.defaults.catalogs == {"lake": {"uri": "https://a", "secretName": "s"}}
