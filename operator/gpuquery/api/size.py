"""How large a whole spec may be.

Each field has a limit, but many fields at their limits would make an object of megabytes, and the operator of a whole
cluster must read it. When the object is applied, the API server adds up the texts that can be long. The operator
measures the whole spec before it does anything else with it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gpuquery.api.schema import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SPEC_BYTES = 393_216
"""Bytes of a spec as JSON: room for the longest query, and half as much again."""
MOST_FIELDS_TOLD = 3
WAY_OUT = "move long queries into a ConfigMap (query.configMapKeyRef), and data into inputs"


def oversized(spec: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a spec that is too large, with its largest fields; None for any other."""
    total = _bytes(spec)
    if total <= MAX_SPEC_BYTES:
        return None
    sizes = sorted(((_bytes(value), name) for name, value in spec.items()), reverse=True)[:MOST_FIELDS_TOLD]
    largest = ", ".join(f"{name} {size:,}" for size, name in sizes)
    return f"spec is too large: {total:,} bytes as JSON, of {MAX_SPEC_BYTES:,} at most (largest: {largest}): {WAY_OUT}"


def _bytes(value: Any) -> int:
    """Return the bytes of a value as JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode(errors="replace"))


def _optional(path: str) -> str:
    """Return the CEL expression for the length of an optional text."""
    return f"(has({path}) ? {path}.size() : 0)"


def _summed(path: str, item: str, size: str) -> str:
    """Return the CEL expression for the sum of a size over the items of a list or the keys of a map, if it is there."""
    return f"(has({path}) ? {path}.map({item}, {size}).sum() : 0)"


def _where(condition: str, size: str) -> str:
    """Return the CEL expression for a size that counts if a condition holds."""
    return f"({condition} ? {size} : 0)"


_COLUMNS = "i.schema.columns.map(c, c.size() + i.schema.columns[c].type.size()).sum()"
_INPUT = " + ".join((
    _optional("i.uri"),
    _summed("i.uris", "u", "u.size()"),
    _summed("i.types", "t", "t.size() + i.types[t].size()"),
    _where("has(i.csv)", _summed("i.csv.nullValues", "n", "n.size()")),
    _where("has(i.schema)", _COLUMNS),
))  # fmt: skip
_PARAMETER = " + ".join((
    "p.size()",
    _optional("self.parameters[p].string"),
    _summed("self.parameters[p].strings", "s", "s.size()"),
))  # fmt: skip
_ANNOTATION = "a.size() + self.template.metadata.annotations[a].size()"
_PARTS = (
    _optional("self.query.sql"),
    _optional("self.query.python"),
    _summed("self.inputs", "i", _INPUT),
    _summed("self.parameters", "p", _PARAMETER),
    _where(
        "has(self.template) && has(self.template.metadata)",
        _summed("self.template.metadata.annotations", "a", _ANNOTATION),
    ),
    _where("has(self.template) && has(self.template.spec)", _summed("self.template.spec.env", "e", "e.value.size()")),
)
SIZE_RULE = Rule(
    f"{' + '.join(_PARTS)} <= {MAX_SPEC_BYTES}",
    # The operator and the command line measure the whole document: see `oversized`.
    lambda _: True,
    f"spec is too large: its texts may have {MAX_SPEC_BYTES:,} characters together: {WAY_OUT}",
)
"""The part that the API server can measure: texts that can be long."""
