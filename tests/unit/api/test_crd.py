"""The CRD: complete, described, bounded, fresh, and of one mind with the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from pydantic import BaseModel, ValidationError

from gpuquery.api import crd, problems, scheduling
from gpuquery.api.pods import TemplateSpec
from gpuquery.api.spec import GpuQueryJobSpec
from gpuquery.api.types import GpuQueryJob
from gpuquery.cli import jobfile
from tests.support.job_tables import (
    AFFINITY,
    REFUSED,
    SPREAD,
    TAKEN,
    TYPOS,
    at,
    having,
    job,
    placed,
    sized,
    working,
)
from tools import generate
from tools.kubectl import ROOT

BOUNDS = {
    "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "pattern", "enum",
}  # fmt: skip


def fields(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every field below a node with its path."""
    for name, field in node.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
        for inner in (field.get("items"), field.get("additionalProperties")):
            if isinstance(inner, Mapping):
                yield from fields(inner, f"{path}.{name}[]")


ALL = dict(fields(crd.schema()))


GENERATED = generate.files()


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_file_is_fresh_and_says_that_it_is_generated(name: str) -> None:
    text = (ROOT / name).read_text()
    assert text == GENERATED[name], "run `make generate`"
    assert "Generated" in "".join(text.splitlines()[:2])


def test_client_side_apply_can_hold_the_crd_in_an_annotation() -> None:
    assert len(crd.as_yaml().encode()) < 200_000


@pytest.mark.parametrize("path", [p for p in ALL if p != ".metadata"])
def test_every_field_is_described(path: str) -> None:
    assert len(ALL[path].get("description", "")) > 3


def test_every_bound_of_the_models_is_in_the_crd() -> None:
    whole = GpuQueryJob.model_json_schema(by_alias=True)

    def bounds(node: Any) -> Iterator[tuple[str, str]]:
        if isinstance(node, Mapping):
            for key, value in node.items():
                if key in BOUNDS and not isinstance(value, Mapping):
                    yield key, str(value)
                else:
                    yield from bounds(value)
        elif isinstance(node, list):
            for item in node:
                yield from bounds(item)

    used = {k: v for k, v in whole["$defs"].items() if k != "ObjectMeta"}
    assert set(bounds(used)) - set(bounds(crd.schema())) == set()


def test_the_defaults_that_matter_show_in_a_stored_object() -> None:
    shown = {path: field["default"] for path, field in ALL.items() if "default" in field and path.startswith(".spec")}
    assert shown == {
        ".spec.inputs[].format": "auto",
        ".spec.inputs[].csv.separator": ",",
        ".spec.inputs[].csv.header": True,
        ".spec.inputs[].schemaEvolution": "lossless",
        ".spec.inputs[].schema.columns[].nullable": True,
        ".spec.inputs[].schema.extraColumns": "allow",
        ".spec.output.mode": "errorIfExists",
        ".spec.output.compression": "zstd",
        ".spec.engine": "auto",
        ".spec.cluster": "auto",
        ".spec.network": "auto",
        ".spec.dask.dashboard": False,
        ".spec.preflight": "auto",
        ".spec.dryRun": False,
        ".spec.workers.replicas": "auto",
        ".spec.template.spec.resourceClaims[].gpus": True,
        ".spec.backoffLimit": 2,
        ".spec.startDeadlineSeconds": 600,
        ".spec.suspend": False,
        ".spec.storage.requesterPays": False,
        ".spec.storage.gs.anonymous": False,
        ".spec.storage.az.anonymous": False,
        ".spec.storage.allowHttp": False,
    }


def test_every_field_of_the_spec_is_either_immutable_or_meant_to_change() -> None:
    names = set(crd.schema()["properties"]["spec"]["properties"])
    assert names - set(GpuQueryJobSpec.immutable) == {"activeDeadlineSeconds", "ttlSecondsAfterFinished", "suspend"}


def test_lists_with_a_key_are_maps_for_the_api_server() -> None:
    keys = {path: f["x-kubernetes-list-map-keys"] for path, f in ALL.items() if "x-kubernetes-list-map-keys" in f}
    assert keys == {
        ".spec.inputs": ["name"],
        ".spec.template.spec.env": ["name"],
        ".spec.template.spec.resourceClaims": ["name"],
        ".spec.template.spec.volumes": ["name"],
        ".status.conditions": ["type"],
        ".status.inputs": ["name"],
    }


def test_every_text_in_the_spec_is_bounded_or_an_enum() -> None:
    """CEL's cost is estimated from bounds; a text without one makes every rule that touches it too dear."""
    loose = [
        path
        for path, f in ALL.items()
        if path.startswith(".spec") and f.get("type") == "string" and not {"maxLength", "enum", "pattern"} & set(f)
    ]
    assert loose == []


def test_every_bound_of_a_number_is_one_that_the_api_server_can_hold() -> None:
    """It holds bounds as floating point numbers, so it reads 2**63 - 1 as 2**63 and refuses the CRD."""
    numbers = (bound for field in ALL.values() for name, bound in field.items() if name in ("minimum", "maximum"))
    assert all(int(float(bound)) == bound for bound in numbers)


def judged(document: Mapping[str, Any]) -> list[str]:
    """What `gpuquery validate` says of a document's fields."""
    try:
        jobfile.job_of(document, folder=Path())
    except ValidationError as error:
        return problems.explained(error)
    except ValueError as error:
        return [str(error)]
    return []


@pytest.mark.parametrize(("document", "place", "word"), REFUSED)
def test_the_models_refuse(document: dict[str, Any], place: str, word: str) -> None:
    found = judged(document)
    assert len(found) >= 1
    assert any(place in line and word.lower() in line.lower() for line in found), found


@pytest.mark.parametrize(("document", "typo", "meant"), TYPOS)
def test_the_models_name_a_typo_and_what_was_meant(document: dict[str, Any], typo: str, meant: str) -> None:
    assert f"{typo}: unknown field (did you mean {meant}?)" in "\n".join(judged(document))


PLACEMENT = [
    kind for kind in vars(scheduling).values() if isinstance(kind, type) and kind.__module__ == scheduling.__name__
]


@pytest.mark.parametrize("model", PLACEMENT, ids=lambda model: model.__name__)
def test_where_pods_run_is_said_in_the_fields_of_kubernetes_and_no_others(model: type[BaseModel]) -> None:
    theirs = getattr(client, f"V1{model.__name__}")
    wanted = {alias: theirs.model_fields[name].is_required() for name, alias in theirs.attribute_map.items()}
    assert {field.alias: field.is_required() for field in model.model_fields.values()} == wanted


def test_a_template_goes_to_the_pods_as_it_was_written() -> None:
    said = {"affinity": AFFINITY, "topologySpreadConstraints": [SPREAD], "tolerations": [{"operator": "Exists"}]}
    kept = TemplateSpec.model_validate(said).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert {name: kept[name] for name in said} == said, "an empty selector takes all, and none takes nothing"


def test_every_regular_expression_of_the_spec_has_words() -> None:
    patterns = {field["pattern"] for path, field in ALL.items() if path.startswith(".spec") and "pattern" in field}
    items = {f["items"].get("pattern") for p, f in ALL.items() if p.startswith(".spec") and "items" in f} - {None}
    assert patterns | items <= set(problems.FORMS)


BARE: list[Any] = [
    pytest.param(having("1994-01-01"), '"1994-01-01" does not say its type: write {date: "1994-01-01"}', id="a day"),
    pytest.param(having("1994-01-01T12:00:00"), '{timestamp: "1994-01-01T12:00:00"}', id="a moment"),
    pytest.param(having(5), "5 does not say its type: write {integer: 5}", id="a number"),
    pytest.param(having(0.5), "{number: 0.5}", id="a fraction"),
    pytest.param(having(True), "{boolean: true}", id="yes or no"),
    pytest.param(having("x"), '{string: "x"}', id="a text"),
    pytest.param(having([1, 2]), "{integers: [1, 2]}", id="a list"),
    pytest.param(job(runtime={"release": 26.1}), 'put it in quotes: "26.10"', id="a release that YAML shortened"),
    pytest.param(job(runtime={"release": 25.08}), 'put it in quotes: "25.08"', id="a release without quotes"),
    pytest.param(having({"decimal": 12.5}), 'put it in quotes: "12.5"', id="a decimal without quotes"),
    pytest.param(at("hdfs://lake/x.parquet"), '"hdfs://lake/x.parquet" is not s3://bucket/path', id="another store"),
    pytest.param(sized({"cpu": "2 cores"}, {}), "a quantity, such as 500m", id="no quantity"),
    pytest.param(placed(tolerations=[{"operator": "Exist"}]), "(did you mean Exists?)", id="nearly an operator"),
    pytest.param(
        placed(env=[{"name": "1st", "value": "x"}]),
        "\"1st\" is not a name: letters, digits and '_', not a digit first",
        id="a variable that is none",
    ),
]


@pytest.mark.parametrize(("document", "words"), BARE)
def test_a_mistake_is_told_with_the_value_and_the_way_out_and_no_regular_expression(
    document: dict[str, Any], words: str
) -> None:
    (line,) = judged(document)
    assert words in line and "[^" not in line and "pattern" not in line, line


def test_all_rules_that_an_object_breaks_are_told_at_once() -> None:
    found = judged(working(engine="cpu", gpus=2, replicas=3, network="tcp"))
    assert [line.partition(":")[0] for line in found] == ["spec.workers.gpus", "spec.workers.replicas", "spec.network"]


@pytest.mark.parametrize("document", TAKEN)
def test_the_models_take(document: dict[str, Any]) -> None:
    assert judged(document) == []


def test_the_crd_is_yaml_that_reads_back() -> None:
    assert yaml.safe_load(crd.as_yaml()) == crd.definition()
