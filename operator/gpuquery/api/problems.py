"""Problems: what is wrong with an object, field by field, for the person who wrote it.

One line for each problem: the field, its value, and what would be right. The command line and the operator use the same
texts.
"""

from __future__ import annotations

import difflib
import re
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gpuquery.api import files, names, output, quantity, schema, spec
from gpuquery.api.ages import DURATION
from gpuquery.api.choices import ReleaseChoice
from gpuquery.api.labels import API_VERSION, KIND
from gpuquery.api.pods import AZURE_ACCOUNT, CLAIM_NAME, IMAGE, KMS_KEY, PULL_POLICY, REPLICAS
from gpuquery.api.types import GpuQueryJob
from gpuquery.api.volumes import MOUNT_PATH, SUB_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic_core import ErrorDetails

MOST_TOLD = 10
"""Maximum number of problems in a message."""
FORMS: Mapping[str, str] = {
    names.RESOURCE_NAME: "a name of lower-case letters, digits, '-' and '.'",
    names.LABEL_VALUE: "a label: letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    quantity.PATTERN: "a quantity, such as 500m, 4 or 16Gi",
    IMAGE: "the name of an image, without blanks",
    PULL_POLICY: "Always, IfNotPresent or Never",
    REPLICAS: "auto, or a number of pods from 1 to 9999",
    CLAIM_NAME: "a name of lower-case letters, digits and '-'",
    spec.IDENTIFIER: "a name: letters, digits and '_', not a digit first",
    spec.INPUT_URI: "s3://bucket/path, gs://bucket/path, abfss://container@account.dfs.core.windows.net/path, "
    "az://container/path, https://host/file or file:///path, without control characters, line breaks and credentials",
    AZURE_ACCOUNT: "the name of a storage account: lower-case letters and digits",
    KMS_KEY: "a key of AWS KMS: its id, its ARN, or alias/name",
    MOUNT_PATH: "a folder below /mnt, such as /mnt/lake",
    SUB_PATH: "a folder of the volume, such as tables/orders",
    output.OUTPUT_URI: "a folder: s3://bucket/path, gs://bucket/path, az://container/path, or with `gpuquery run` "
    "file://path, without blanks and without any of * ? [ ] { }",
    names.TABLE_NAME: "a table with its namespace, such as sales.orders, without blanks and slashes",
    spec.SNAPSHOT_ID: 'the number of a snapshot in quotes, such as "3051729675574597004"',
    spec.SOME_TEXT: "a text that is not blank",
    spec.QUERY_KEY: "a key that ends with .sql or .py",
    spec.DECIMAL: 'an exact decimal number in quotes, such as "12.50"',
    DURATION: "an age: a number with s, m, h or d behind it, such as 90s, 24h or 7d",
    spec.DATE: 'a day in quotes, such as "1994-01-31"',
    files.TARGET: "from 1M to 9Gi, such as 256Mi",
    output.PARTITION_COLUMN: "letters, digits, '_', '-', '.' and single spaces, and begins with a letter or digit",
    output.TRANSFORM: "a column, year(column), month(column), day(column), hour(column), bucket(16, column) or "
    "truncate(4, column)",
    output.SORT_COLUMN: "a column, or `column desc`",
    output.BRANCH: "a branch: letters, digits, '.', '_', '/' and '-', with a letter or digit at both ends",
    f"^{API_VERSION}$": API_VERSION,
    f"^{KIND}$": KIND,
}
"""Regular expressions of the schema, in words."""


def explained(error: ValidationError) -> list[str]:
    """Return one line for each problem: field, value, and what would be right."""
    prefix = "" if error.title == GpuQueryJob.__name__ else "spec."
    return list(dict.fromkeys(prefix + line for problem in error.errors() for line in _explain(problem)))


def listed(problems: Iterable[str]) -> str:
    """Return problems as one line of text: a single one unchanged, several with numbers, ten at most."""
    found = list(problems)
    if len(found) == 1:
        return found[0]
    sentences = " ".join(f"({number}) {text.rstrip('.')}." for number, text in enumerate(found[:MOST_TOLD], start=1))
    more = f" And {len(found) - MOST_TOLD} more." if len(found) > MOST_TOLD else ""
    return f"{len(found)} problems: {sentences}{more}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a suggestion; empty if no known name is similar."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _explain(problem: ErrorDetails) -> Iterator[str]:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    value, context = problem["input"], problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden":
            known = _fields_at(problem["loc"][:-1])
            yield f"{path}: unknown field{did_you_mean(str(problem['loc'][-1]), known)}"
        case "enum" | "literal_error":
            yield f"{path}: {_unlisted(value, _words(str(context.get('expected', ''))))}"
        case "missing":
            yield f"{path}: is required"
        case schema.BROKEN_RULE:
            for message, field_path in context["broken"]:
                yield f"{path}{field_path}: {message}".removeprefix(": ").removeprefix(".")
        case "string_pattern_mismatch" if form := FORMS.get(context.get("pattern", "")):
            yield f"{path}: {_shown(value)} is not {form}"
        case "string_type" if isinstance(value, int | float):
            yield f"{path}: {_shown(value)} is not a text: put it in quotes: {_in_quotes(value)}"
        case "too_short":
            yield f"{path}: needs {_items(context['min_length'])} at least, and has {len(value) or 'none'}"
        case "too_long":
            yield f"{path}: takes {_items(context['max_length'])} at most, and has {len(value)}"
        case "model_type" | "model_attributes_type" if _model_at(problem["loc"]) is spec.Parameter:
            yield f"{path}: {_shown(value)} does not say its type: write {_typed(value)}"
        case _:
            yield f"{path}: {problem['msg'][0].lower()}{problem['msg'][1:]}; it is {_shown(value)}"


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count} items"


def _words(expected: str) -> list[str]:
    """Return the values in a list such as `'a', 'b' or 'c'`."""
    return [word for word in re.findall(r"'([^']*)'", expected) if word]


def _unlisted(value: object, allowed: list[str]) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        # YAML reads 26.10 as a number, in which the last 0 means nothing.
        meant = [word for word in allowed if re.fullmatch(r"[0-9.]+", word) and float(word) == float(value)]
        way_out = f"put it in quotes: {_in_quotes(value)}" if meant else f"use one of {', '.join(allowed)}"
        return f"{_shown(value)} is a number, not a text: {way_out}"
    return f"{_shown(value)} is not one of {', '.join(allowed)}{did_you_mean(str(value), allowed)}"


def _in_quotes(value: float) -> str:
    same = [release for release in ReleaseChoice if isinstance(value, float) and float(release) == value]
    return f'"{same[0] if same else str(value).lower()}"'


def _typed(value: object) -> str:
    """Return how a bare value is written as a parameter."""
    match value:
        case bool():
            return f"{{boolean: {str(value).lower()}}}"
        case int():
            return f"{{integer: {value}}}"
        case float():
            return f"{{number: {value}}}"
        case str() if re.fullmatch(spec.DATE, value):
            return f'{{date: "{value}"}}'
        case str() if re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:", value):
            return f'{{timestamp: "{value.replace(" ", "T")}"}}'
        case list() if value and all(isinstance(item, int) for item in value):
            return f"{{integers: {_shown(value)}}}"
        case list():
            return '{strings: ["a", "b"]} or {integers: [1, 2]}'
        case str():
            return f"{{string: {_shown(value)}}}"
        case _:
            return '{string: "..."}, or another of its types'


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 80 else text[:77] + "..."


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Return the fields that the model at a place has."""
    model = _model_at(location)
    return [] if model is None else [f.alias or name for name, f in model.model_fields.items()]


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the model at a place; None where another type is."""
    annotation: Any = GpuQueryJob
    for part in location:
        annotation = _plain(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            fields = annotation.model_fields.items()
            annotation = next((f.annotation for name, f in fields if part in (name, f.alias)), None)
        else:
            # A list's items and a map's values: their type is the last one named before an ellipsis.
            annotation = next((a for a in reversed(get_args(annotation)) if a is not Ellipsis), None)
    model = _plain(annotation)
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _plain(annotation: Any) -> Any:
    """Strip `Annotated` and `| None`."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    return annotation
