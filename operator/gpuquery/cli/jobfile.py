"""Job files: YAML documents, read as by the API server, with errors that people can act on."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from gpuquery.api.labels import API_VERSION, KIND
from gpuquery.api.problems import explained
from gpuquery.api.size import oversized
from gpuquery.api.spec import GpuQueryJobSpec, Input
from gpuquery.api.types import GpuQueryJob
from gpuquery.cli.documents import MAX_CHARACTERS, Document, Surprise, load_all

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_NAME = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
"""Valid namespaces and names."""
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
    documents: tuple[Mapping[str, Any], ...] = ()
    """Each job as kubectl would send it."""
    surprises: tuple[Surprise, ...] = ()
    """Names in the file that mean something other than their text."""

    def query_text(self, job: GpuQueryJob) -> str | None:
        """Return the text of `query.configMapKeyRef`, None if the job itself has the query.

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
    jobs, sent, problems, surprises = [], [], [], []
    maps = {k: v for further in config_maps for k, v in _maps(_documents(further)).items()}
    documents = _documents(path)
    for document in documents:
        if not (isinstance(document.value, Mapping) and document.value.get("kind") == KIND):
            continue
        sent.append(document.value)
        surprises += [one for one in document.surprises if one.is_key]
        try:
            jobs.append(job_of(document.value, folder=Path(path).parent if path != "-" else Path()))
        except ValidationError as error:
            problems += [f"{name}: {line}" for line in (*explained(error), *_surprising(error, document))]
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise JobFileError(problems)
    if not jobs:
        raise JobFileError([f"{name}: holds no {KIND} (apiVersion: {API_VERSION}, kind: {KIND})"])
    return JobFile(name, tuple(jobs), {**maps, **_maps(documents)}, tuple(sent), tuple(surprises))


def _documents(path: str) -> list[Document]:
    name = "standard input" if path == "-" else path
    try:
        return load_all(_text(path))
    except OSError as error:
        raise JobFileError([f"{name}: cannot be read: {error.strerror}"]) from None
    except UnicodeError as error:
        raise JobFileError([f"{name}: not UTF-8: {error}"]) from None
    except yaml.YAMLError as error:
        raise JobFileError([f"{name}: not YAML: {' '.join(str(error).split())}"]) from None


def _text(path: str) -> str:
    """Read at most one character more than the limit: the file may be a device that never ends."""
    if path == "-":
        return sys.stdin.read(MAX_CHARACTERS + 1)
    with Path(path).open(encoding="utf-8") as file:
        return file.read(MAX_CHARACTERS + 1)


def _maps(documents: Iterable[Document]) -> dict[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {}
    for one in documents:
        metadata, data = (one.value.get(k) for k in ("metadata", "data")) if _is_config_map(one) else (None, None)
        if isinstance(metadata, Mapping):
            data = data if isinstance(data, Mapping) else {}
            found[str(metadata.get("name", ""))] = {k: v for k, v in data.items() if isinstance(v, str)}
    return found


def _is_config_map(document: Document) -> bool:
    return isinstance(document.value, Mapping) and document.value.get("kind") == "ConfigMap"


def _surprising(error: ValidationError, document: Document) -> list[str]:
    """Return the unquoted words, at the places of the errors or as names, that mean something else."""
    under = () if error.title == "GpuQueryJob" else ("spec",)
    places = {(*under, *problem["loc"]) for problem in error.errors()}
    return [str(one) for one in document.surprises if one.is_key or any(p[: len(one.path)] == one.path for p in places)]


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
    for field, form in (("name", _NAME), ("namespace", _LABEL)):
        value = metadata.get(field)
        if isinstance(value, str) and not form.fullmatch(value):
            raise ValueError(f"metadata.{field}: \"{value}\" is no name: lower-case letters, digits and '-'")
    # Fields that the API server would set.
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": datetime.now(UTC).isoformat(timespec="seconds")}
    if isinstance(spec := document.get("spec"), Mapping) and (large := oversized(spec)):
        raise ValueError(large)
    whole = {k: v for k, v in document.items() if k != "status"} | {"metadata": metadata}
    # As in the API server: "2" is not a number, "yes" not a boolean, and fields have one name.
    job = GpuQueryJob.model_validate_json(json.dumps(whole, default=str), strict=True, by_alias=True, by_name=False)
    inputs = tuple(_placed(i, folder) for i in job.spec.inputs)
    output = job.spec.output
    if output.uri is not None:
        output = output.model_copy(update={"uri": _absolute(output.uri, folder)})
    placed = job.spec.model_copy(update={"inputs": inputs, "output": output})
    # Again: only now it is known whether one folder is inside another.
    placed = GpuQueryJobSpec.model_validate(placed.model_dump(mode="json", exclude_none=True))
    return job.model_copy(update={"spec": placed})


def _placed(item: Input, folder: Path) -> Input:
    found: dict[str, Any] = {}
    if item.uri is not None:
        found["uri"] = _absolute(item.uri, folder)
    if item.uris is not None:
        found["uris"] = tuple(_absolute(uri, folder) for uri in item.uris)
    return item.model_copy(update=found)


def _absolute(uri: str, folder: Path) -> str:
    path = uri.removeprefix("file://")
    if path == uri or path.startswith("/"):
        return uri
    slash = "/" if path.endswith("/") else ""
    return f"file://{os.path.abspath(folder / path)}{slash}"
