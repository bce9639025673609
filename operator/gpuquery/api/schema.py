"""What the models of the object have in common: frozen, camelCase on the wire, CEL rules beside the fields.

A rule is checked by the API server when the object is applied, long before the operator sees it. The same limits stand
in the fields' own constraints, so that `gpuquery validate` refuses what the API server would refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema


@dataclass(frozen=True)
class Rule:
    """One CEL validation: `expression` must be true, or the API server answers `message`."""

    expression: str
    message: str
    field_path: str = ""

    def to_schema(self) -> dict[str, str]:
        """Return the entry of `x-kubernetes-validations`."""
        entry = {"rule": self.expression, "message": self.message}
        return {**entry, "fieldPath": self.field_path} if self.field_path else entry


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
    """Checked by the API server; each has its twin in a validator, so that `gpuquery validate` says the same."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core))
        if cls.cel_rules:
            schema["x-kubernetes-validations"] = [rule.to_schema() for rule in cls.cel_rules]
        return schema


class Lenient(Model):
    """A model that the operator reads back from a server that may be newer: unknown fields are dropped."""

    model_config = ConfigDict(extra="ignore")
