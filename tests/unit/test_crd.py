"""The CRD: complete, described, bounded, fresh, and of one mind with the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from gpuquery.api import crd
from gpuquery.api.spec import GpuQueryJobSpec
from gpuquery.api.types import GpuQueryJob
from gpuquery.cli import jobfile
from tests.support.job_tables import REFUSED, TAKEN, TYPOS
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


@pytest.mark.parametrize("name", generate.files())
def test_a_generated_file_is_fresh_and_says_that_it_is_generated(name: str) -> None:
    text = (ROOT / name).read_text()
    assert text == generate.files()[name], "run `make generate`"
    assert "Generated" in text.splitlines()[0]


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
    }


def test_every_field_of_the_spec_is_either_immutable_or_meant_to_change() -> None:
    names = set(crd.schema()["properties"]["spec"]["properties"])
    assert names - set(GpuQueryJobSpec.immutable) == {"activeDeadlineSeconds", "ttlSecondsAfterFinished"}


def test_lists_with_a_key_are_maps_for_the_api_server() -> None:
    keys = {path: f["x-kubernetes-list-map-keys"] for path, f in ALL.items() if "x-kubernetes-list-map-keys" in f}
    assert keys == {
        ".spec.inputs": ["name"],
        ".spec.template.spec.env": ["name"],
        ".spec.template.spec.resourceClaims": ["name"],
        ".status.conditions": ["type"],
    }


def test_every_text_in_the_spec_is_bounded_or_an_enum() -> None:
    """CEL's cost is estimated from bounds; a text without one makes every rule that touches it too dear."""
    loose = [
        path
        for path, f in ALL.items()
        if path.startswith(".spec") and f.get("type") == "string" and not {"maxLength", "enum", "pattern"} & set(f)
    ]
    assert loose == []


def judged(document: Mapping[str, Any]) -> list[str]:
    """What `gpuquery validate` says of a document's fields."""
    try:
        jobfile.job_of(document, folder=Path())
    except ValidationError as error:
        return jobfile.explained(error)
    return []


@pytest.mark.parametrize(("document", "place", "word"), REFUSED)
def test_the_models_refuse(document: dict[str, Any], place: str, word: str) -> None:
    found = judged(document)
    assert len(found) >= 1
    assert any(place in line and word.lower() in line.lower() for line in found), found


@pytest.mark.parametrize(("document", "typo", "meant"), TYPOS)
def test_the_models_name_a_typo_and_what_was_meant(document: dict[str, Any], typo: str, meant: str) -> None:
    assert f"{typo}: unknown field (did you mean {meant}?)" in "\n".join(judged(document))


@pytest.mark.parametrize("document", TAKEN)
def test_the_models_take(document: dict[str, Any]) -> None:
    assert judged(document) == []


def test_the_crd_is_yaml_that_reads_back() -> None:
    assert yaml.safe_load(crd.as_yaml()) == crd.definition()
