"""The common base of the models: frozen, camelCase in YAML, with CEL rules next to the fields.

The API server checks a rule when the object is applied, before the operator sees it. Each rule has the same check in
Python, so that `gpuquery validate` refuses the same objects with the same messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel, to_snake
from pydantic_core import CoreSchema, PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Callable

BROKEN_RULE = "broken_rule"
"""Type of the validation error for broken rules of one model; `broken` in its context has their messages and field
paths."""
FIELD = re.compile(r"\{([a-zA-Z.]+)(?:!([a-z0-9]+))?\}")
"""A placeholder for a field's value in a message: {cluster} for a text, {replicas!any} for a number or a text,
{gpus!16} for a number from 0 to 16. The API server refuses a rule whose message could be long, and assumes that a
number as text has no maximum length, so such a number is looked up in a list."""


@dataclass(frozen=True)
class Rule:
    """One CEL validation: `expression` must be true, or the API server answers `message`."""

    expression: str
    """Empty if the schema itself enforces it, with the type of a list."""
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
            # Texts, fields and their conversions take turns in what re.split returns.
            pieces = FIELD.split(self.message)
            texts = ["'" + re.sub(r"([\\'])", r"\\\1", text) + "'" for text in pieces[::3]]
            fields = [_value(*field) for field in zip(pieces[1::3], pieces[2::3], strict=True)]
            entry["messageExpression"] = " + ".join(
                part for pair in zip(texts, [*fields, ""], strict=True) for part in pair if part not in ("", "''")
            )
        return {**entry, "fieldPath": self.field_path} if self.field_path else entry


def _value(name: str, conversion: str | None) -> str:
    """Return the CEL expression for a field's value as text."""
    match conversion:
        case None:
            return f"self.{name}"
        case "any":
            return f"string(self.{name})"
        case _:
            return f"[{', '.join(repr(str(number)) for number in range(int(conversion) + 1))}][self.{name}]"


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
    """Rules over more than one field."""

    @model_validator(mode="after")
    def _obeys_its_rules(self) -> Self:
        broken = [(rule.told(self), rule.field_path) for rule in self.cel_rules if not rule.check(self)]
        if broken:
            context = {"message": "; ".join(message for message, _ in broken), "broken": broken}
            raise PydanticCustomError(BROKEN_RULE, "{message}", context)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core))
        if rules := [rule.to_schema() for rule in cls.cel_rules if rule.expression]:
            schema["x-kubernetes-validations"] = rules
        return schema


class Lenient(Model):
    """A model that the operator reads from a server that may be newer: unknown fields are dropped."""

    model_config = ConfigDict(extra="ignore")
