"""Policy: what a job may ask for. The administrator sets it for all jobs, and for a namespace with annotations.

The right to create a GpuQueryJob is the right to run pods; the policy restricts which. Most settings are lists of
patterns, in which `*` matches any text, and `!` before a pattern excludes what it matches: a value is allowed if a
pattern matches it and none excludes it. Fields that a job leaves out are the operator's choice and not checked.

Pure. ValidatingAdmissionPolicies of the chart make the same checks in the API server; a test compares the two.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from gpuquery.api.labels import ANNOTATION_ALLOW
from gpuquery.api.problems import MOST_TOLD
from gpuquery.api.reasons import Failure
from gpuquery.api.schema import Model
from gpuquery.plan.rejected import Rejected

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gpuquery.api.spec import GpuQueryJobSpec
    from gpuquery.api.types import GpuQueryJob

PATTERN = r"^!?[A-Za-z0-9*._:/@-]+$"
"""Characters of a pattern: none that is special in a regular expression, except `.` and `*`."""
Patterns = Annotated[tuple[Annotated[str, Field(max_length=253, pattern=PATTERN)], ...], Field(max_length=64)]
PATTERNS = TypeAdapter[Patterns](Patterns)
SWITCH = {"true": True, "false": False}
ANY: Patterns = ("*",)
AWS = "https://s3.amazonaws.com"
"""The endpoint of a job that sets none."""
GOOGLE = "https://storage.googleapis.com"


class Policy(Model):
    """What jobs may ask for, from the Helm values of the same names below `policy`."""

    images: Patterns = ANY
    """`runtime.image`."""
    service_accounts: Patterns = ANY
    """`storage.serviceAccountName`."""
    secrets: Patterns = ANY
    """`storage.secretName`, `dask.tlsSecretName`, names in `template.spec.imagePullSecrets`, and
    `inputs[].table.catalog` and `output.table.catalog` where the administrator has declared no catalog of this name."""
    priority_classes: Patterns = ("*", "!system-*")
    """`template.spec.priorityClassName`. Those of the system may preempt everybody's pods."""
    runtime_classes: Patterns = ANY
    """`template.spec.runtimeClassName`."""
    tolerations: Patterns = ("*", "!node-role.kubernetes.io/*")
    """Keys of `template.spec.tolerations`."""
    tolerate_everything: bool = False
    """Whether a toleration may have no key, which lets the pods onto every node."""
    labels: Patterns = ANY
    """Names in `template.metadata.labels`. Services and policies of the namespace select pods by them."""
    annotations: Patterns = (
        "*", "!iam.amazonaws.com/*", "!sidecar.istio.io/userVolume*", "!seccomp.security.alpha.kubernetes.io/*",
        "!container.apparmor.security.beta.kubernetes.io/*",
    )  # fmt: skip
    """Names in `template.metadata.annotations`. Some give a pod more than its spec does: a role, a volume."""
    endpoints: Patterns = ANY
    """`storage.endpoint` and those of other stores. A job without one counts as `https://s3.amazonaws.com`, with `gs://`
    as `https://storage.googleapis.com`, with `az://` or `abfss://` as `https://<account>.blob.core.windows.net`, and
    with a URI of the web as its scheme, host and port."""
    claims: Patterns = ANY
    """PersistentVolumeClaims in `template.spec.volumes`."""
    schedulers: Patterns = ANY
    """`dask.schedulerAddress`."""
    python: bool = True
    """Whether a query may be Python: `query.python`, or a key of `query.configMapKeyRef` that ends with `.py`."""

    def in_namespace(self, annotations: Mapping[str, str]) -> tuple[Policy, tuple[str, ...]]:
        """Return the policy of a namespace, whose annotations replace the operator's values, and their errors."""
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
    """Return the annotation of a namespace that replaces a setting: `gpuquery.io/allow-service-accounts`."""
    return ANNOTATION_ALLOW + bound.replace("_", "-")


def asked(spec: GpuQueryJobSpec, catalogs: Collection[str] = ()) -> Mapping[str, list[tuple[str, str]]]:
    """Return the fields and values of a spec that each list of patterns restricts; `catalogs` are those declared."""
    tables = {f"inputs[{one.name}]": one.table.catalog for one in spec.inputs if one.table is not None}
    if spec.output.table is not None:
        tables["output"] = spec.output.table.catalog
    pod, metadata, dask = spec.template.spec, spec.template.metadata, spec.dask
    found: dict[str, list[tuple[str, str | None]]] = {
        "images": [("runtime.image", spec.runtime.image)],
        "service_accounts": [("storage.serviceAccountName", spec.storage.service_account_name)],
        "secrets": [
            ("storage.secretName", spec.storage.secret_name),
            ("dask.tlsSecretName", dask.tls_secret_name if dask else None),
            *((f"template.spec.imagePullSecrets[{i}].name", one.name) for i, one in enumerate(pod.image_pull_secrets)),
            *((f"{place}.table.catalog", used) for place, used in tables.items() if used not in catalogs),
        ],
        "priority_classes": [("template.spec.priorityClassName", pod.priority_class_name)],
        "runtime_classes": [("template.spec.runtimeClassName", pod.runtime_class_name)],
        "tolerations": [
            (f"template.spec.tolerations[{i}].key", one.key or None) for i, one in enumerate(pod.tolerations)
        ],
        "labels": [("template.metadata.labels", name) for name in metadata.labels],
        "annotations": [("template.metadata.annotations", name) for name in metadata.annotations],
        "endpoints": _servers(spec),
        "claims": [
            (f"template.spec.volumes[{i}].persistentVolumeClaim.claimName", one.persistent_volume_claim.claim_name)
            for i, one in enumerate(pod.volumes)
        ],
        "schedulers": [("dask.schedulerAddress", dask.scheduler_address if dask else None)],
    }
    return {bound: [(field, value) for field, value in asks if value is not None] for bound, asks in found.items()}


def _servers(spec: GpuQueryJobSpec) -> list[tuple[str, str | None]]:
    """Return every server that a job reads or writes, by the field that names it."""
    storage = spec.storage
    named: list[tuple[str, str | None]] = [*storage.endpoints.items()]
    if storage.endpoint is None:
        named.append(("storage.endpoint, left out,", AWS))
    places = [(f"inputs[{item.name}]", uri) for item in spec.inputs for uri in item.places]
    for field, uri in (*places, *(("output", uri) for uri in spec.output.places)):
        scheme, _, rest = uri.partition("://")
        place = rest.partition("/")[0]
        match scheme:
            case "http" | "https":
                named.append((field, f"{scheme}://{place}"))
            case "gs" if storage.gs is None or storage.gs.endpoint is None:
                named.append(("storage.gs.endpoint, left out,", GOOGLE))
            case "az" | "abfss" if storage.az is None or storage.az.endpoint is None:
                own = storage.az.account if storage.az else None
                account = place.partition("@")[2].partition(".")[0] or own
                named.append(("storage.az.endpoint, left out,", f"https://{account}.blob.core.windows.net"))
    return list(dict.fromkeys(named))


def refused(
    job: GpuQueryJob, policy: Policy, annotations: Mapping[str, str], catalogs: Collection[str] = ()
) -> Rejected | None:
    """Refuse a job that asks for something that is not allowed; `catalogs` are those that are declared."""
    here, problems = policy.in_namespace(annotations)
    if problems:
        return Rejected(
            Failure.NOT_ALLOWED,
            f'namespace "{job.metadata.namespace}" has an invalid annotation: '
            f"{'; '.join(problems)}: ask the administrator to correct it",
        )
    found = violations(job.spec, here, catalogs)
    if not found:
        return None
    more = f"; and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return Rejected(Failure.NOT_ALLOWED, "; ".join(found[:MOST_TOLD]) + more)


def violations(spec: GpuQueryJobSpec, policy: Policy, catalogs: Collection[str] = ()) -> tuple[str, ...]:
    """Return everything in a spec that is not allowed, in sentences with the way out."""
    found = []
    for bound, asks in asked(spec, catalogs).items():
        patterns: Patterns = getattr(policy, bound)
        found += [
            f'{field} is "{value}", which is not allowed here (allowed: {", ".join(patterns) or "none"}): use '
            f"{'another' if patterns else 'none'}, or ask the administrator ({_where(bound)})"
            for field, value in asks
            if not allowed(value, patterns)
        ]
    if not policy.tolerate_everything:
        found += [
            f"template.spec.tolerations[{number}] has no key and so tolerates every taint: name the taint in key, or "
            f"ask the administrator ({_where('tolerate_everything')})"
            for number, each in enumerate(spec.template.spec.tolerations)
            if not each.key
        ]
    query = spec.query
    ref = query.config_map_key_ref
    if not policy.python and (query.python is not None or (ref is not None and ref.key.endswith(".py"))):
        what = "query.python is set" if ref is None else f'query.configMapKeyRef.key is "{ref.key}"'
        found.append(
            f"{what}, and queries in Python are not allowed here: write it in SQL, or ask the administrator "
            f"({_where('python')})"
        )
    return tuple(found)


def allowed(value: str, patterns: Patterns) -> bool:
    """Whether a pattern matches a value and none excludes it."""
    denied = any(_fits(value, pattern[1:]) for pattern in patterns if pattern.startswith("!"))
    return not denied and any(_fits(value, pattern) for pattern in patterns if not pattern.startswith("!"))


def _fits(value: str, pattern: str) -> bool:
    return re.fullmatch(pattern.replace(".", "[.]").replace("*", ".*"), value) is not None


def _where(bound: str) -> str:
    return f"Helm value policy.{to_camel(bound)}, or the annotation {annotation(bound)} of the namespace"
