"""The API reference as Markdown, from the models and the words of `gpuquery.api`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from gpuquery.api import conditions, reasons
from gpuquery.api.crd import schema
from gpuquery.api.labels import API_VERSION, KIND
from gpuquery.api.types import GpuQueryJobSpec

HEADER = "<!-- Generated from operator/gpuquery/api/ by `make generate`. Do not edit. -->\n"
BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "maxProperties": "at most {} entries",
    "pattern": "pattern `{}`",
}


def as_markdown() -> str:
    """Return the whole reference."""
    whole = schema()["properties"]
    parts = [
        HEADER,
        "# API reference",
        f"`apiVersion: {API_VERSION}`, `kind: {KIND}`, short name `gqj`. `kubectl explain gqj` prints the same texts.",
        "## spec",
        *_rules(),
        *_table("spec", whole["spec"]),
        "## status",
        *_table("status", whole["status"]),
        "## Conditions",
        _words(conditions.ConditionType),
        "## Why a job fails",
        "The reason of the `Failed` condition and of each attempt. *Never* is not retried, *Budgeted* is retried up to "
        "`backoffLimit` with growing pauses, *Free* is retried without counting.",
        _failures(),
        "## Reasons of other conditions",
        _words(reasons.Reason),
        "## Events",
        _words(reasons.Event),
    ]
    return "\n\n".join(parts) + "\n"


def _rules() -> Iterator[str]:
    fixed = ", ".join(f"`{name}`" for name in GpuQueryJobSpec.immutable)
    messages = [rule.message for rule in GpuQueryJobSpec.cel_rules]
    messages.append(f"these fields are immutable: {fixed}; delete the job and apply it again, or give it a new name")
    yield "Beside the bounds of each field, the API server refuses:\n\n" + "\n".join(
        f"- {message}" for message in messages
    )


def _table(path: str, node: Mapping[str, Any]) -> Iterator[str]:
    rows = ["| field | type | description |", "|---|---|---|"]
    for name, kind, text in _fields(path, node):
        rows.append(f"| `{name}` | {kind} | {text} |")
    yield "\n".join(rows)


def _fields(path: str, node: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    required = set(node.get("required", []))
    for name, field in node.get("properties", {}).items():
        here = f"{path}.{name}"
        yield here, _type(field), _text(field, required=name in required)
        inner, suffix = field, ""
        if "items" in field:
            inner, suffix = field["items"], "[]"
        elif isinstance(field.get("additionalProperties"), Mapping):
            inner, suffix = field["additionalProperties"], ".*"
        yield from _fields(here + suffix, inner)


def _type(field: Mapping[str, Any]) -> str:
    if "items" in field:
        return f"list of {_type(field['items'])}"
    if isinstance(field.get("additionalProperties"), Mapping):
        return f"map of {_type(field['additionalProperties'])}"
    return str(field.get("format", field.get("type", "any"))).replace("int64", "integer")


def _text(field: Mapping[str, Any], *, required: bool) -> str:
    parts = [field.get("description", "")]
    if required:
        parts.append("**Required.**")
    if "enum" in field:
        parts.append("One of " + ", ".join(f"`{v}`" for v in field["enum"]) + ".")
    if "default" in field:
        value = field["default"]
        parts.append(f"Default: `{str(value).lower() if isinstance(value, bool) else value}`.")
    bounds = [text.format(field[key]) for key, text in BOUNDS.items() if key in field]
    if bounds:
        parts.append(f"({'; '.join(bounds)})")
    return " ".join(p for p in parts if p).replace("|", "\\|")


def _failures() -> str:
    texts = _docstrings(reasons.Failure)
    rows = ["| reason | retried | what it means, and the way out |", "|---|---|---|"]
    rows += [f"| `{f}` | {f.policy} | {texts[f.name]} |" for f in reasons.Failure]
    return "\n".join(rows)


def _words(words: type[StrEnum]) -> str:
    texts = _docstrings(words)
    return "\n".join(f"- `{w}`" + (f": {texts[w.name]}" if texts.get(w.name) else "") for w in words)


def _docstrings(words: type[StrEnum]) -> dict[str, str]:
    """Read the string that stands below each member in the source."""
    body = ast.parse(inspect.getsource(words)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(before, ast.Assign) and isinstance(before.targets[0], ast.Name) and isinstance(after, ast.Expr):
            found[before.targets[0].id] = " ".join(str(ast.literal_eval(after.value)).split())
    return found
