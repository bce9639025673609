"""The API reference as Markdown: fields from the CRD, words from the docstrings of reasons and conditions."""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gpuquery.api import crd
from gpuquery.api.conditions import ConditionType, State
from gpuquery.api.labels import API_VERSION, KIND, SHORT_NAME
from gpuquery.api.reasons import Event, Failure, Policy, Reason
from gpuquery.api.spec import GpuQueryJobSpec

if TYPE_CHECKING:
    from enum import StrEnum

POLICIES = {
    Policy.NEVER: "never",
    Policy.BUDGETED: "up to `backoffLimit`",
    Policy.FREE: "always; does not count",
    Policy.RESUMED: "once the job is resumed; does not count",
}
HEADER = f"""<!-- Generated from operator/gpuquery/api by `make generate`. Do not edit. -->
# API reference: {KIND}

`{API_VERSION}`, short name `{SHORT_NAME}`. In a cluster: `kubectl explain {SHORT_NAME}.spec`.

A field without a default is optional, unless it is marked *required*. After the object is created, only
{{mutable}} of the spec
can change. To change anything else, delete the job and apply it again, or give it a new name.
"""


def as_markdown() -> str:
    """Return the whole reference."""
    root = crd.schema()
    names = root["properties"]["spec"]["properties"]
    mutable = " and ".join(f"`{name}`" for name in names if name not in GpuQueryJobSpec.immutable)
    parts = [HEADER.format(mutable=mutable), "## metadata\n", *_rules(root)]
    for place in ("spec", "status"):
        parts += _section(place, root["properties"][place])
    parts += _words()
    return "\n".join(parts).rstrip() + "\n"


def _section(path: str, node: Mapping[str, Any]) -> Iterator[str]:
    """One table for each object, then its rules, then the objects in it."""
    required = set(node.get("required", ()))
    yield f"## {path}\n"
    yield f"{node['description']}\n"
    yield "| field | type | default | limits | description |\n|---|---|---|---|---|"
    nested: list[tuple[str, Mapping[str, Any]]] = []
    for name, field in node["properties"].items():
        inner, suffix = _innermost(field)
        default = f"`{field['default']}`" if field.get("default") not in (None, "") else ""
        if name in required:
            default = "*required*"
        yield f"| `{name}` | {_type(field)} | {default} | {_limits(field)} | {_cell(field['description'])} |"
        if inner.get("properties"):
            nested.append((f"{path}.{name}{suffix}", {**inner, "description": field["description"]}))
    yield ""
    yield from _rules(node)
    for place, inner in nested:
        yield from _section(place, inner)


def _rules(node: Mapping[str, Any]) -> Iterator[str]:
    found = [r["message"] for r in node.get("x-kubernetes-validations", ()) if "oldSelf" not in r["rule"]]
    if found:
        yield "Refused when applied:\n"
        yield from (f"- {message}" for message in found)
        yield ""


def _innermost(field: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    if field.get("type") == "array":
        return field["items"], "[]"
    if isinstance(values := field.get("additionalProperties"), Mapping):
        return values, ".*"
    return field, ""


def _type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("x-kubernetes-int-or-string"):
        return "quantity"
    inner, suffix = _innermost(field)
    match suffix:
        case "[]":
            return f"list of {_type(inner)}"
        case ".*":
            return f"map of {_type(inner)}"
        case _:
            return str({"date-time": "time", "date": "day"}.get(field.get("format", ""), field["type"]))


def _limits(field: Mapping[str, Any]) -> str:
    inner, suffix = _innermost(field)
    said = []
    for low, high, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
    ):
        if high in field:
            least = f"{field[low]:,} to " if field.get(low) else "up to " if unit or field.get(low) is None else "0 to "
            said.append(f"{least}{field[high]:,}{unit}")
    if "pattern" in field:
        said.append(f"`{_cell(field['pattern'])}`")
    if suffix and "properties" not in inner and (each := _limits(inner)):
        said.append(f"each {each}")
    return ", ".join(said)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _words() -> Iterator[str]:
    yield "## Conditions\n"
    yield "| type | True when |\n|---|---|"
    yield from (f"| `{name}` | {text} |" for name, text in docstrings(ConditionType).items())
    yield "\nExactly one of `Complete` and `Failed` ever becomes True, and only when no pod of the job is alive.\n"
    yield "## States\n"
    yield "`status.state` is one word for the table of `kubectl get`. Programs should read conditions.\n"
    yield "| state | meaning |\n|---|---|"
    yield from (f"| `{name}` | {text} |" for name, text in docstrings(State).items())
    yield "\n## Failure classes\n"
    yield "The reason of the `Failed` condition, and of each failed attempt in `status.attempts`.\n"
    yield "| class | meaning | retried | way out |\n|---|---|---|---|"
    for name, text in docstrings(Failure).items():
        meaning, _, way_out = text.partition("\n\n")
        yield f"| `{name}` | {_flat(meaning)} | {POLICIES[Failure(name).policy]} | {_flat(way_out)} |"
    yield "\n## Other reasons of conditions\n"
    yield "| reason | meaning |\n|---|---|"
    yield from (f"| `{name}` | {_flat(text)} |" for name, text in docstrings(Reason).items())
    yield "\n## Events\n"
    yield "| reason | meaning |\n|---|---|"
    yield from (f"| `{name}` | {_flat(text)} |" for name, text in docstrings(Event).items())


def _flat(text: str) -> str:
    return _cell(" ".join(text.split()))


def docstrings(words: type[StrEnum]) -> dict[str, str]:
    """Return the docstring below each member, by value. Python drops them, so they are read from the source."""
    (body,) = (n.body for n in ast.parse(inspect.getsource(words)).body if isinstance(n, ast.ClassDef))
    found = {}
    for member, below in itertools.pairwise(body):
        match member, below:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                found[words[name].value] = inspect.cleandoc(text)
    missing = [word.value for word in words if word.value not in found]
    if missing:
        raise ValueError(f"{words.__name__} has members without a docstring: {', '.join(missing)}")
    return found
