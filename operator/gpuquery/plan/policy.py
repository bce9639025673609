"""Policy: what a job may ask for. The administrator says it for all jobs, and for a namespace by its annotations.

The right to create a GpuQueryJob is the right to run pods; this bounds which. A bound is a list of patterns, in which
`*` is any text and a pattern behind `!` takes away: a value is allowed if one pattern takes it in and none takes it
away. What a job leaves open is the operator's own choice and is not asked about.

Pure. ValidatingAdmissionPolicies of the chart say the same to the API server; a test compares the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from gpuquery.api.labels import ANNOTATION_ALLOW
from gpuquery.api.problems import MOST_TOLD
from gpuquery.api.reasons import Failure
from gpuquery.api.schema import Model
from gpuquery.plan.rejected import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gpuquery.api.spec import GpuQueryJobSpec
    from gpuquery.api.types import GpuQueryJob

PATTERN = r"^!?[A-Za-z0-9*._:/@-]+$"
"""What a pattern is made of: nothing that would mean more than itself in a regular expression, but `.` and `*`."""
Patterns = Annotated[tuple[Annotated[str, Field(max_length=253, pattern=PATTERN)], ...], Field(max_length=64)]
PATTERNS = TypeAdapter[Patterns](Patterns)
SWITCH = {"true": True, "false": False}
ANY: Patterns = ("*",)
AWS = "https://s3.amazonaws.com"
"""What a job without an endpoint counts as."""


class Policy(Model):
    """Bounds of what jobs ask for, by Helm values of the same names below `policy`."""

    images: Patterns = ANY
    """`runtime.image`."""
    service_accounts: Patterns = ANY
    """`storage.serviceAccountName`."""
    secrets: Patterns = ANY
    """`storage.secretName`, `dask.tlsSecretName`, and names in `template.spec.imagePullSecrets`."""
    priority_classes: Patterns = ("*", "!system-*")
    """`template.spec.priorityClassName`. Those of the system take the place of everybody's pods."""
    runtime_classes: Patterns = ANY
    """`template.spec.runtimeClassName`."""
    tolerations: Patterns = ("*", "!node-role.kubernetes.io/*")
    """Keys of `template.spec.tolerations`."""
    tolerate_everything: bool = False
    """Whether a toleration may leave its key out, which lets the pods onto every node."""
    labels: Patterns = ANY
    """Names in `template.metadata.labels`. Services and policies of the namespace choose pods by them."""
    annotations: Patterns = (
        "*", "!iam.amazonaws.com/*", "!sidecar.istio.io/userVolume*", "!seccomp.security.alpha.kubernetes.io/*",
        "!container.apparmor.security.beta.kubernetes.io/*",
    )  # fmt: skip
    """Names in `template.metadata.annotations`. Some give a pod more than its spec does: a role, a volume."""
    endpoints: Patterns = ANY
    """`storage.endpoint`; a job without one counts as `https://s3.amazonaws.com`."""
    schedulers: Patterns = ANY
    """`dask.schedulerAddress`."""
    python: bool = True
    """Whether a query may be Python: `query.python`, or a key of `query.configMapKeyRef` that ends with `.py`."""

    def in_namespace(self, annotations: Mapping[str, str]) -> tuple[Policy, tuple[str, ...]]:
        """Return the policy of a namespace, whose annotations stand in place of the operator's values; and what is
        wrong with them.
        """
        found: dict[str, object] = {}
        problems: list[str] = []
        for name, field in type(self).model_fields.items():
            key = annotation(name)
            if (text := annotations.get(key)) is None:
                continue
            if field.annotation is bool:
                found[name] = SWITCH.get(text, True)
                if text not in SWITCH:
                    problems.append(f'{key} is "{text}", and must be "true" or "false"')
                continue
            try:
                found[name] = PATTERNS.validate_python(tuple(filter(None, (part.strip() for part in text.split(",")))))
            except ValidationError as error:
                problems.append(f'{key} is "{text}": {error.errors()[0]["msg"]}')
        return self.model_copy(update=found), tuple(problems)


def annotation(bound: str) -> str:
    """Return the annotation of a namespace that stands in place of a bound: `gpuquery.io/allow-service-accounts`."""
    return ANNOTATION_ALLOW + bound.replace("_", "-")


@dataclass(frozen=True)
class Ask:
    """A value that a job asks for, and where."""

    field: str
    value: str


def _images(spec: GpuQueryJobSpec) -> Iterator[Ask]:
    if spec.runtime.image is not None:
        yield Ask("runtime.image", spec.runtime.image)


def _service_accounts(spec: GpuQueryJobSpec) -> Iterator[Ask]:
    if spec.storage.service_account_name is not None:
        yield Ask("storage.serviceAccountName", spec.storage.service_account_name)


def _secrets(spec: GpuQueryJobSpec) -> Iterator[Ask]:
    if spec.storage.secret_name is not None:
        yield Ask("storage.secretName", spec.storage.secret_name)
    if spec.dask is not None and spec.dask.tls_secret_name is not None:
        yield Ask("dask.tlsSecretName", spec.dask.tls_secret_name)
    for number, each in enumerate(spec.template.spec.image_pull_secrets):
        yield Ask(f"template.spec.imagePullSecrets[{number}].name", each.name)


def _priority_classes(spec: GpuQueryJobSpec) -> Iterator[Ask]:
    if spec.template.spec.priority_class_name is not None:
        yield Ask("template.spec.priorityClassName", spec.template.spec.priority_class_name)


def _runtime_classes(spec: GpuQueryJobSpec) -> Iterator[Ask]:
    if spec.template.spec.runtime_class_name is not None:
        yield Ask("template.spec.runtimeClassName", spec.template.spec.runtime_class_name)


def _tolerations(spec: GpuQueryJobSpec) -> Iterator[Ask]:
    for number, key in _keys(spec):
        if key:
            yield Ask(f"template.spec.tolerations[{number}].key", key)


def _keys(spec: GpuQueryJobSpec) -> Iterable[tuple[int, str]]:
    found = ((number, dict(each).get("key")) for number, each in enumerate(spec.template.spec.tolerations))
    return ((number, str(key) if key is not None else "") for number, key in found)


def _labels(spec: GpuQueryJobSpec) -> Iterator[Ask]:
    yield from (Ask("template.metadata.labels", name) for name in spec.template.metadata.labels)


def _annotations(spec: GpuQueryJobSpec) -> Iterator[Ask]:
    yield from (Ask("template.metadata.annotations", name) for name in spec.template.metadata.annotations)


def _endpoints(spec: GpuQueryJobSpec) -> Iterator[Ask]:
    if spec.storage.endpoint is not None:
        yield Ask("storage.endpoint", spec.storage.endpoint)
    else:
        yield Ask("storage.endpoint, left out,", AWS)


def _schedulers(spec: GpuQueryJobSpec) -> Iterator[Ask]:
    if spec.dask is not None and spec.dask.scheduler_address is not None:
        yield Ask("dask.schedulerAddress", spec.dask.scheduler_address)


ASKED: Mapping[str, Callable[[GpuQueryJobSpec], Iterator[Ask]]] = {
    "images": _images,
    "service_accounts": _service_accounts,
    "secrets": _secrets,
    "priority_classes": _priority_classes,
    "runtime_classes": _runtime_classes,
    "tolerations": _tolerations,
    "labels": _labels,
    "annotations": _annotations,
    "endpoints": _endpoints,
    "schedulers": _schedulers,
}
"""What of a spec each list of patterns bounds."""


def refused(job: GpuQueryJob, policy: Policy, annotations: Mapping[str, str]) -> Rejected | None:
    """Refuse a job that asks for what it may not have."""
    here, problems = policy.in_namespace(annotations)
    if problems:
        return Rejected(
            Failure.NOT_ALLOWED,
            f'namespace "{job.metadata.namespace}" bounds its jobs by an annotation that cannot be read: '
            f"{'; '.join(problems)}: ask the administrator to correct it",
        )
    found = violations(job.spec, here)
    if not found:
        return None
    more = f"; and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return Rejected(Failure.NOT_ALLOWED, "; ".join(found[:MOST_TOLD]) + more)


def violations(spec: GpuQueryJobSpec, policy: Policy) -> tuple[str, ...]:
    """Return everything that a spec asks for and may not have, in sentences with the way out."""
    found = []
    for bound, asked in ASKED.items():
        patterns: Patterns = getattr(policy, bound)
        found += [
            f'{ask.field} is "{ask.value}", which is not allowed here (allowed: {", ".join(patterns) or "none"}): use '
            f"{'another' if patterns else 'none'}, or ask the administrator ({_where(bound)})"
            for ask in asked(spec)
            if not allowed(ask.value, patterns)
        ]
    if not policy.tolerate_everything:
        found += [
            f"template.spec.tolerations[{number}] has no key and so tolerates every taint: name the taint in key, or "
            f"ask the administrator ({_where('tolerate_everything')})"
            for number, key in _keys(spec)
            if not key
        ]
    query = spec.query
    ref = query.config_map_key_ref
    if not policy.python and (query.python is not None or (ref is not None and ref.key.endswith(".py"))):
        field = "query.python is set" if ref is None else f'query.configMapKeyRef.key is "{ref.key}"'
        found.append(
            f"{field}, and queries in Python are not allowed here: write it in SQL, or ask the administrator "
            f"({_where('python')})"
        )
    return tuple(found)


def allowed(value: str, patterns: Patterns) -> bool:
    """Whether one pattern takes a value in and none takes it away."""
    denied = any(_fits(value, pattern[1:]) for pattern in patterns if pattern.startswith("!"))
    return not denied and any(_fits(value, pattern) for pattern in patterns if not pattern.startswith("!"))


def _fits(value: str, pattern: str) -> bool:
    return re.fullmatch(pattern.replace(".", "[.]").replace("*", ".*"), value) is not None


def _where(bound: str) -> str:
    return f"Helm value policy.{to_camel(bound)}, or the annotation {annotation(bound)} of the namespace"
