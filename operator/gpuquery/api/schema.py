"""What the models of the object have in common: frozen, camelCase on the wire, CEL rules beside the fields.

A rule is checked by the API server when the object is applied, long before the operator sees it. Its twin in Python
stands beside it, so that `gpuquery validate` refuses what the API server would refuse, in the same words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel, to_snake
from pydantic_core import CoreSchema, PydanticCustomError

BROKEN_RULE = "broken_rule"
"""Type of the validation error of a broken rule; its context has `message` and `field_path`."""
FIELD = re.compile(r"\{([a-zA-Z.]+)\}")
"""A field of the model in a message, such as {runtime.release}: its value is told."""


@dataclass(frozen=True)
class Rule:
    """One CEL validation: `expression` must be true, or the API server answers `message`."""

    expression: str
    """Empty where the schema itself says it, by the type of a list."""
    check: Callable[[Any], bool]
    """The same in Python: takes the model."""
    message: str
    """What is wrong and the way out; `{runtime.release}` stands for the value of that field, which must be set."""
    field_path: str = ""

    def told(self, model: Any) -> str:
        """Return the message with the values of a model."""

        def value(found: re.Match[str]) -> str:
            field = model
            for part in found[1].split("."):
                field = getattr(field, to_snake(part))
            return str(field)

        return FIELD.sub(value, self.message)

    def to_schema(self) -> dict[str, str]:
        """Return the entry of `x-kubernetes-validations`."""
        entry = {"rule": self.expression, "message": FIELD.sub("…", self.message)}
        if FIELD.search(self.message):
            # Texts and fields take turns in what re.split returns.
            pieces = FIELD.split(self.message)
            texts = ["'" + re.sub(r"([\\'])", r"\\\1", text) + "'" for text in pieces[::2]]
            fields = [f"string(self.{name})" for name in pieces[1::2]]
            entry["messageExpression"] = " + ".join(
                part for pair in zip(texts, [*fields, ""], strict=True) for part in pair if part not in ("", "''")
            )
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
    """What must be true of more than one field."""

    @model_validator(mode="after")
    def _obeys_its_rules(self) -> Self:
        for rule in self.cel_rules:
            if not rule.check(self):
                context = {"message": rule.told(self), "field_path": rule.field_path}
                raise PydanticCustomError(BROKEN_RULE, "{message}", context)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core))
        if rules := [rule.to_schema() for rule in cls.cel_rules if rule.expression]:
            schema["x-kubernetes-validations"] = rules
        return schema


class Lenient(Model):
    """A model that the operator reads back from a server that may be newer: unknown fields are dropped."""

    model_config = ConfigDict(extra="ignore")
