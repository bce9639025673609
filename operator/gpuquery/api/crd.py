"""The CustomResourceDefinition from the models: descriptions from docstrings, limits, enums and CEL rules.

pydantic's JSON schema becomes a structural schema: references are inlined, `null` alternatives dropped (a field that
may be left out is simply not required), and defaults kept only where they are plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from gpuquery.api.labels import GROUP, KIND, PLURAL, SHORT_NAME, SINGULAR, VERSION
from gpuquery.api.spec import GpuQueryJobSpec
from gpuquery.api.types import GpuQueryJob

NAME = f"{PLURAL}.{GROUP}"
HEADER = "# Generated from operator/gpuquery/api/ by `make generate`. Do not edit.\n"
DROPPED = {"title", "additionalProperties", "const", "$defs"}
LIST_KEYS = {"inputs": "name", "env": "name", "resourceClaims": "name", "volumes": "name", "conditions": "type"}
"""Lists that server-side apply merges by a key, which must be unique."""

COLUMNS: tuple[tuple[str, str, str, int, str], ...] = (
    ("State", "string", ".status.state", 0, "What the job is doing"),
    ("Phase", "string", ".status.progress.phase", 0, "What the running attempt is doing"),
    ("Rows", "integer", ".status.output.rows", 0, "Rows that were committed"),
    ("Attempt", "integer", ".status.attempt", 0, "Number of the current or last attempt"),
    ("Engine", "string", ".status.plan.engine", 0, "Execution model"),
    ("Pods", "string", '.status.conditions[?(@.type=="ClusterReady")].reason', 0, "Why they are ready or not"),
    ("Failure", "string", ".status.failure", 0, "Why the job, its preflight or its last attempt failed"),
    ("Age", "date", ".metadata.creationTimestamp", 0, "Time since it was created"),
    ("Cluster", "string", ".status.plan.cluster", 1, "Cluster shape"),
    ("Written", "integer", ".status.progress.rows", 1, "Rows written so far by the running attempt"),
    ("Version", "integer", ".status.output.version", 1, "Number of the commit in the table's log"),
    ("Snapshot", "string", ".status.output.snapshot", 1, "Snapshot that was committed to an Iceberg table"),
    ("Output", "string", ".spec.output.uri", 1, "Where the result goes"),
    ("Table", "string", ".spec.output.table.name", 1, "Iceberg table that the result goes to"),
)


def definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition as a plain dictionary."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME, "labels": {"app.kubernetes.io/part-of": "gpuquery"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": [SHORT_NAME],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema()},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(*c) for c in COLUMNS],
                }
            ],
        },
    }


def as_yaml() -> str:
    """Return the CustomResourceDefinition as YAML; its first line says where it comes from."""
    return HEADER + yaml.safe_dump(definition(), sort_keys=False, width=120, allow_unicode=True)


def schema() -> dict[str, Any]:
    """Return the structural schema of a GpuQueryJob."""
    whole = GpuQueryJob.model_json_schema(by_alias=True, mode="validation")
    root = _structural(whole, whole.get("$defs", {}))
    fields = root["properties"]
    fields["apiVersion"] = {"type": "string", "description": "Version of the object: gpuquery.io/v1alpha1."}
    fields["kind"] = {"type": "string", "description": "GpuQueryJob."}
    fields["metadata"] = {"type": "object"}
    fields["status"].pop("default", None)
    root["required"] = ["spec"]
    spec = fields["spec"]
    spec.setdefault("x-kubernetes-validations", []).extend(_immutable(name) for name in GpuQueryJobSpec.immutable)
    return root


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    node = _resolved(node, definitions)
    result = {k: v for k, v in node.items() if k not in DROPPED}
    if "description" in result:
        result["description"] = " ".join(str(result["description"]).split())
    if not _plain(result.get("default")):
        result.pop("default", None)
    if "properties" in node:
        result["properties"] = {k: _structural(v, definitions, k) for k, v in node["properties"].items()}
    elif node.get("type") == "object":
        values = node.get("additionalProperties", True)
        if isinstance(values, Mapping) and values:
            result["additionalProperties"] = _structural(values, definitions)
        else:
            result["x-kubernetes-preserve-unknown-fields"] = True
    if "items" in node:
        result["items"] = _structural(node["items"], definitions)
    if name in LIST_KEYS:
        result |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [LIST_KEYS[name]]}
    if result.get("x-kubernetes-int-or-string"):
        # The API server applies `pattern` to such a field only if a branch allows a string.
        result["anyOf"] = [{"type": "integer"}, {"type": result.pop("type")}]
    if result.get("type") == "integer":
        result["format"] = "int64"
    return result


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Follow references and drop the null alternative; keys next to a reference win over its own."""
    found = dict(node)
    while "$ref" in found or "anyOf" in found:
        if reference := found.pop("$ref", None):
            found = {**definitions[reference.rsplit("/", 1)[1]], **found}
        if choices := found.pop("anyOf", None):
            (only,) = (c for c in choices if c.get("type") != "null")
            found = {**only, **found}
    return found


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _immutable(field: str) -> dict[str, Any]:
    both = f"has(self.{field}) && has(oldSelf.{field})"
    return {
        "rule": f"has(self.{field}) == has(oldSelf.{field}) && (!({both}) || self.{field} == oldSelf.{field})",
        "message": f"spec.{field} is immutable: delete the job and apply it again, or give it a new name",
        "fieldPath": f".{field}",
    }


def _column(name: str, kind: str, path: str, priority: int, description: str) -> dict[str, Any]:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": priority} if priority else column
