"""Whether a cluster would accept a job, asked through kubectl, so with the caller's context and rights.

There are two questions. First the settings of the operator, which the chart publishes in a ConfigMap, and the
annotations of the job's namespace: with them a job is resolved exactly as by the operator. Then the API server itself,
which checks the job as at `kubectl apply` (schema, rules, policies, quotas) and stores nothing.

Each question is one request with a timeout. kubectl must not run its discovery, which takes minutes if the API server
does not answer.
"""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import ValidationError

from gpuquery.api.labels import DEFAULTS_CONFIG_MAP, GROUP, PLURAL, PUBLIC_NAMESPACE, VERSION
from gpuquery.app.settings import Settings
from gpuquery.cli.jobfile import SERVER_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.plan.defaults import Defaults

REQUEST_SECONDS = 4
CALL_SECONDS = 10
"""Timeout of kubectl as a whole: a program that it calls for credentials may hang too."""
_SERVER = "Error from server"
_NO_CONTEXT = "current-context must exist in order to minify"
"""kubectl's message for a kubeconfig without a current context, or for none at all."""


class NoClusterError(Exception):
    """No cluster can be asked; the message says why."""


@dataclass(frozen=True)
class Ground:
    """The defaults for the jobs of a namespace, and their source."""

    defaults: Defaults | None
    """None: the cluster does not publish them."""
    source: str
    """One sentence."""
    answered: bool = True
    """Whether the API server answers."""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """kubectl's answer."""

    document: Mapping[str, Any] | None = None
    reason: str = ""
    """The API server's reason for a refusal, such as NotFound; empty if it did not answer."""
    message: str = ""


class Cluster:
    """The cluster of a context."""

    def __init__(self, context: str | None = None) -> None:
        """Find the context; raises NoClusterError. Without `context` it is the current one."""
        self._flags = [f"--context={context}"] if context else []
        answer = _kubectl("config", "view", "--minify", "--output=json", *self._flags)
        if answer.document is None:
            why = "kubectl has no context" if answer.message == _NO_CONTEXT else answer.message
            raise NoClusterError(f"context {context!r}: {why}" if context else why)
        found = (answer.document.get("contexts") or [{}])[0]
        self.name: str = found.get("name", "")
        self.namespace: str = (found.get("context") or {}).get("namespace") or "default"

    @cache  # noqa: B019 - it lives as long as the command
    def ground(self, namespace: str) -> Ground:
        """Return the defaults for jobs of a namespace."""
        places = (namespace, PUBLIC_NAMESPACE)
        paths = [f"/api/v1/namespaces/{quote(n, safe='')}/configmaps/{DEFAULTS_CONFIG_MAP}" for n in places]
        with ThreadPoolExecutor(3) as threads:
            *published, home = threads.map(self._get, [*paths, f"/api/v1/namespaces/{quote(namespace, safe='')}"])
        for place, answer in zip(places, published, strict=True):
            if answer.document is not None:
                return self._read(f"{place}/{DEFAULTS_CONFIG_MAP}", answer.document, namespace, home)
        refused = next((a for a in published if a.reason != "NotFound"), published[-1])
        why = (
            f"it has no ConfigMap {DEFAULTS_CONFIG_MAP} in {' or '.join(places)}: no GpuQuery, an older chart, "
            "or publishDefaults: false"
            if refused.reason == "NotFound"
            else refused.message
        )
        return Ground(None, f"context {self.name} does not publish its defaults: {why}", answered=bool(refused.reason))

    def _read(self, place: str, document: Mapping[str, Any], namespace: str, home: Answer) -> Ground:
        try:
            defaults = Settings.from_environment(document.get("data") or {}).defaults
        except ValidationError as error:
            what = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            return Ground(None, f"context {self.name}, ConfigMap {place}, does not fit this gpuquery: {what}")
        source = f"of context {self.name}: ConfigMap {place}, annotations of namespace {namespace}"
        if home.document is None:
            remark = f"the annotations of namespace {namespace} were not read, and may change the plan: {home.message}"
            return Ground(defaults, f"of context {self.name}: ConfigMap {place}", remarks=(remark,))
        annotations = (home.document.get("metadata") or {}).get("annotations")
        return Ground(defaults.in_namespace(annotations), source)

    def judged(self, namespace: str, document: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """Have the API server check a job as at `kubectl apply`, without storing it.

        Returns why it refuses the job, or else a remark if it could not be asked.
        """
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{quote(namespace, safe='')}/{PLURAL}"
        metadata = {k: v for k, v in document["metadata"].items() if k not in SERVER_FIELDS} | {"namespace": namespace}
        answer = _kubectl(
            "create", f"--raw={path}?dryRun=All&fieldValidation=Strict", "--filename=-", *self._flags,
            text=json.dumps({k: v for k, v in document.items() if k != "status"} | {"metadata": metadata}),
        )  # fmt: skip
        if answer.document is not None:
            return None, None
        unasked = f"context {self.name} was not asked whether it accepts the job: {answer.message}"
        match answer.reason:
            case "AlreadyExists":
                return None, f"namespace {namespace} has a job of this name already: {answer.message}"
            case "Forbidden" if f'cannot create resource "{PLURAL}"' in answer.message:
                return None, unasked
            case "NotFound" if "namespaces" not in answer.message:
                return None, unasked
            case "Invalid" | "BadRequest" | "Forbidden" | "NotFound":
                return f"context {self.name} refuses it: {answer.message}", None
            case _:
                return None, unasked

    def job(self, namespace: str, name: str) -> Mapping[str, Any]:
        """Return a job; raises NoClusterError with the API server's words."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{quote(namespace, safe='')}/{PLURAL}/{quote(name, safe='')}"
        answer = self._get(path)
        if answer.document is None:
            raise NoClusterError(f"context {self.name}: {answer.message}")
        return answer.document

    def _get(self, path: str) -> Answer:
        return _kubectl("get", f"--raw={path}", *self._flags)


def _kubectl(*words: str, text: str = "") -> Answer:
    command: Sequence[str] = ("kubectl", f"--request-timeout={REQUEST_SECONDS}s", *words)
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=CALL_SECONDS, check=False)
    except FileNotFoundError:
        return Answer(message="kubectl is not installed")
    except subprocess.TimeoutExpired:
        return Answer(message=f"kubectl did not end within {CALL_SECONDS} s")
    except OSError as error:
        return Answer(message=f"kubectl cannot be started: {error.strerror}")
    if done.returncode == 0:
        try:
            document = json.loads(done.stdout)
        except ValueError:
            document = None
        if isinstance(document, dict):
            return Answer(document)
    return _refused(done.stderr)


def _refused(words: str) -> Answer:
    """Read an error of kubectl; log lines of the client may come before it."""
    lines = [line for line in words.splitlines() if line.strip()] or ["kubectl says nothing that can be read"]
    start = next((n for n, line in enumerate(lines) if line.startswith((_SERVER, "The "))), len(lines) - 1)
    message = " ".join(" ".join(lines[start:]).split())
    if found := re.match(rf"{_SERVER} \((\w+)\): ", message):
        return Answer(reason=found[1], message=message[found.end() :])
    if re.match(r'The \S+ "[^"]*" is invalid', message):
        return Answer(reason="Invalid", message=message)
    return Answer(message=message.removeprefix("error: "))
