"""What the models of the object have in common: frozen, camelCase on the wire, CEL rules beside the fields.

A rule is checked by the API server when the object is applied, long before the operator sees it. The same limits stand
in the fields' own constraints, so that `gpuquery validate` refuses what the API server would refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


@dataclass(frozen=True)
class Rule:
    """One CEL validation: `expression` must be true, or the API server answers `message` (or `message_expression`)."""

    expression: str
    message: str = ""
    message_expression: str = ""
    field_path: str = ""
    reason: str = ""


class Model(BaseModel):
    """Base of every model of the API: immutable, strict about unknown fields, camelCase in YAML."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = ()


class Lenient(Model):
    """A model that the operator reads back from a server that may be newer: unknown fields are dropped."""

    model_config = ConfigDict(extra="ignore")
