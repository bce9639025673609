"""Job files: YAML documents read as the API server would read them, with errors that a person can act on."""

from __future__ import annotations

import difflib
import json
import os
import secrets
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gpuquery.api import schema
from gpuquery.api.labels import API_VERSION, KIND
from gpuquery.api.spec import GpuQueryJobSpec
from gpuquery.api.types import GpuQueryJob
from gpuquery.cli.documents import load_all

SERVER_FIELDS = {"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"}


class JobFileError(Exception):
    """A file cannot be used; each line names the file, the field, the value and the way out."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class JobFile:
    """The jobs of one file and the ConfigMaps beside them."""

    path: str
    jobs: tuple[GpuQueryJob, ...]
    config_maps: Mapping[str, Mapping[str, str]]

    def query_text(self, job: GpuQueryJob) -> str | None:
        """Return the text behind `query.configMapKeyRef`, None if the query stands in the job itself.

        Raises JobFileError if the file holds no such ConfigMap or key.
        """
        ref = job.spec.query.config_map_key_ref
        if ref is None:
            return None
        found = self.config_maps.get(ref.name)
        if found is None:
            where = f"{self.path}: spec.query.configMapKeyRef.name"
            raise JobFileError(
                [
                    f"{where}: this file has no ConfigMap {ref.name!r}: put it into the same file, "
                    "or name its file with --configmap"
                ]
            )
        if ref.key not in found:
            where, known = f"{self.path}: spec.query.configMapKeyRef.key", ", ".join(sorted(found)) or "no keys"
            raise JobFileError([f"{where}: ConfigMap {ref.name!r} has no key {ref.key!r}; it has {known}"])
        return found[ref.key]


def read(path: str, *, config_maps: Sequence[str] = ()) -> JobFile:
    """Read a file, or standard input for `-`. Raises JobFileError with one line for each problem.

    `config_maps` are further files with ConfigMaps for `query.configMapKeyRef`.
    """
    name = "standard input" if path == "-" else path
    jobs, problems = [], []
    maps = {k: v for further in config_maps for k, v in _maps(_documents(further)).items()}
    documents = _documents(path)
    for document in documents:
        if not (isinstance(document, Mapping) and document.get("kind") == KIND):
            continue
        try:
            jobs.append(job_of(document, folder=Path(path).parent if path != "-" else Path()))
        except ValidationError as error:
            problems += [f"{name}: {line}" for line in explained(error)]
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise JobFileError(problems)
    if not jobs:
        raise JobFileError([f"{name}: holds no {KIND} (apiVersion: {API_VERSION}, kind: {KIND})"])
    return JobFile(name, tuple(jobs), {**maps, **_maps(documents)})


def _documents(path: str) -> list[Any]:
    name = "standard input" if path == "-" else path
    try:
        return load_all(sys.stdin.read() if path == "-" else Path(path).read_text())
    except OSError as error:
        raise JobFileError([f"{name}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise JobFileError([f"{name}: not UTF-8: {error}"]) from None
    except yaml.YAMLError as error:
        raise JobFileError([f"{name}: not YAML: {' '.join(str(error).split())}"]) from None


def _maps(documents: Iterable[Any]) -> dict[str, Mapping[str, str]]:
    found = [d for d in documents if isinstance(d, Mapping) and d.get("kind") == "ConfigMap"]
    return {str((d.get("metadata") or {}).get("name", "")): d.get("data") or {} for d in found}


def job_of(document: Mapping[str, Any], *, folder: Path) -> GpuQueryJob:
    """Validate one document. `file://` paths that do not begin with `/` are relative to `folder`."""
    if document.get("apiVersion") != API_VERSION:
        raise ValueError(f"apiVersion: {document.get('apiVersion')!r} is not {API_VERSION!r}")
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping) or not ("name" in metadata or "generateName" in metadata):
        raise ValueError("metadata.name: is required")
    metadata = {k: v for k, v in metadata.items() if k not in SERVER_FIELDS}
    if "name" not in metadata:
        metadata["name"] = f"{metadata['generateName']}{secrets.token_hex(2)}"
    metadata["uid"] = str(uuid.uuid4())
    whole = {k: v for k, v in document.items() if k != "status"} | {"metadata": metadata}
    # As the API server reads it: "2" is no number, "yes" no boolean, and fields have one name.
    job = GpuQueryJob.model_validate_json(json.dumps(whole, default=str), strict=True, by_alias=True, by_name=False)
    inputs = tuple(i.model_copy(update={"uri": _absolute(i.uri, folder)}) for i in job.spec.inputs)
    output = job.spec.output.model_copy(update={"uri": _absolute(job.spec.output.uri, folder)})
    spec = job.spec.model_copy(update={"inputs": inputs, "output": output})
    # Again, for only now it shows whether one folder lies in another.
    spec = GpuQueryJobSpec.model_validate(spec.model_dump(mode="json", exclude_none=True))
    return job.model_copy(update={"spec": spec})


def _absolute(uri: str, folder: Path) -> str:
    path = uri.removeprefix("file://")
    if path == uri or path.startswith("/"):
        return uri
    slash = "/" if path.endswith("/") else ""
    return f"file://{os.path.abspath(folder / path)}{slash}"


def explained(error: ValidationError) -> list[str]:
    """Return one line for each problem: field, value, and what would be right."""
    prefix = "" if error.title == "GpuQueryJob" else "spec."
    return list(dict.fromkeys(prefix + _explain(problem) for problem in error.errors()))


def _explain(problem: ErrorDetails) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    value = problem["input"]
    match problem["type"]:
        case "extra_forbidden":
            known = _fields_at(problem["loc"][:-1])
            return f"{path}: unknown field{_did_you_mean(str(problem['loc'][-1]), known)}"
        case "enum":
            allowed = str(problem.get("ctx", {}).get("expected", "")).replace("'", "").replace(" or ", ", ")
            return f"{path}: {_shown(value)} is not one of {allowed}{_did_you_mean(str(value), allowed.split(', '))}"
        case "missing":
            return f"{path}: is required"
        case schema.BROKEN_RULE:
            return f"{path}{problem['ctx']['field_path']}: {problem['msg']}".removeprefix(": ").removeprefix(".")
        case _:
            return f"{path}: {problem['msg'][0].lower()}{problem['msg'][1:]}; it is {_shown(value)}"


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 80 else text[:77] + "..."


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Return the fields that the model at a place has."""
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
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [f.alias or name for name, f in model.model_fields.items()]


def _plain(annotation: Any) -> Any:
    """Strip `Annotated` and `| None`."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    return annotation
