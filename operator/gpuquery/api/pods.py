"""What a user can set for the pods: how many, with which resources, which image, and where they run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from gpuquery.api import quantity
from gpuquery.api.catalogs import IN_VARIABLES
from gpuquery.api.choices import ReleaseChoice
from gpuquery.api.labels import GROUP, RESERVED_LABEL_DOMAINS
from gpuquery.api.names import LabelValue, ResourceName
from gpuquery.api.scheduling import Affinity, Toleration, TopologySpreadConstraint
from gpuquery.api.schema import Model, Rule
from gpuquery.api.stores import RESERVED
from gpuquery.api.volumes import VOLUME_RULES, Volume

IMAGE = r"^\S+$"
PULL_POLICY = "^(Always|IfNotPresent|Never)$"
REPLICAS = "^(auto|[1-9][0-9]{0,3})$"
VARIABLE_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
CLAIM_NAME = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
ENDPOINT = r"^https?://[^\s@?#]+$"
AZURE_ACCOUNT = "^[a-z0-9]+$"
KMS_KEY = "^[A-Za-z0-9:/_-]+$"

_AS_TEXT = BeforeValidator(
    lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value
)
"""Accepts a number as text. Last in an annotation: what follows a validator is not part of the JSON schema."""
Quantity = Annotated[
    str,
    Field(max_length=32, pattern=quantity.PATTERN, json_schema_extra={"x-kubernetes-int-or-string": True}),
    _AS_TEXT,
]


class Resources(Model):
    """Resources of each pod."""

    requests: Annotated[Mapping[str, Quantity], Field(max_length=16)] = {}
    """Minimum amounts, by resource name: `{cpu: "4", memory: 16Gi}`. Write fractions in quotes: `"0.5"`."""
    limits: Annotated[Mapping[str, Quantity], Field(max_length=16)] = {}
    """Maximum amounts, by resource name. A query that exceeds its memory limit fails with HostOutOfMemory."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || "
            "quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)",
            lambda self: all(
                quantity.amount(least) <= quantity.amount(self.limits[name])
                for name, least in self.requests.items()
                if name in self.limits
            ),
            "a request is higher than the limit of the same resource",
            field_path=".requests",
        ),
    )


Replicas = Annotated[
    str,
    Field(max_length=4, pattern=REPLICAS, json_schema_extra={"x-kubernetes-int-or-string": True}),
    _AS_TEXT,
]


class Workers(Model):
    """The pods that run the query."""

    replicas: Replicas = "auto"
    """Number of pods, or `auto`: with a GPU engine the size of the data decides, otherwise it is 1."""
    gpus: Annotated[int, Field(ge=0, le=16)] | None = None
    """GPUs in each pod. Default: none with `cpu`, 1 with a GPU engine; with `replicas: auto` the size of the data
    decides, up to the operator's limit for one pod."""
    resources: Resources = Resources()
    """CPU and memory of each pod. Default: the operator's."""
    stall_seconds: Annotated[int, Field(ge=0, le=604_800)] | None = None
    """Seconds after which a query is ended if none of its processes does anything: no row written, no bytes moved, no
    GPU used; for a query of one process, no processor time either. Up to 2 % of a processor and 64 KiB/s over the
    network count as nothing, so a query that only polls or reads a trickle is ended too. At least 10; 0: never. Not for
    Dask clusters outside of the job's own pods. Default: the operator's."""


class Runtime(Model):
    """The software that runs the query."""

    release: ReleaseChoice | None = None
    """RAPIDS release, in quotes: `"26.10"`. Default: the operator's. With `image`, the release in that image."""
    image: Annotated[str, Field(min_length=1, max_length=512, pattern=IMAGE)] | None = None
    """Runtime image. Default: the operator's image of the release, or of the engine `cpu`."""
    image_pull_policy: Annotated[str, Field(pattern=PULL_POLICY)] | None = None
    """As in Kubernetes: Always, IfNotPresent or Never."""


def _endpoint_rule(says: str) -> Rule:
    """Return the rule for an endpoint; `says` is how one is written."""
    return Rule(
        f"!has(self.endpoint) || self.endpoint.matches('{ENDPOINT}')".replace("\\", "\\\\"),
        lambda self: self.endpoint is None or bool(re.match(ENDPOINT, self.endpoint)),
        # The message does not show the value, which may have a password.
        "an endpoint begins with http:// or https:// and has neither user nor password nor query in it: write it "
        f"like {says}",
        field_path=".endpoint",
    )


class GsStorage(Model):
    """How the pods reach `gs://`."""

    endpoint: Annotated[str, Field(max_length=1024)] | None = None
    """URL of a server other than Google's that speaks its protocol."""
    anonymous: bool = False
    """Reads public buckets, without credentials."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (_endpoint_rule("http://gcs.lake.svc:4443"),)


class AzStorage(Model):
    """How the pods reach `az://` and `abfss://`."""

    account: Annotated[str, Field(min_length=3, max_length=24, pattern=AZURE_ACCOUNT)] | None = None
    """The storage account of `az://container/path`; an `abfss://` URI names its own."""
    endpoint: Annotated[str, Field(max_length=1024)] | None = None
    """URL of the account at a server other than Azure's: `http://azurite.lake.svc:10000/devstoreaccount1`."""
    anonymous: bool = False
    """Reads public containers, without credentials."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (_endpoint_rule("http://azurite.lake.svc:10000/devstoreaccount1"),)


class Storage(Model):
    """How the pods reach the stores. The operator itself never reads credentials."""

    secret_name: ResourceName | None = None
    """A Secret in the job's namespace, whose keys become environment variables of the query's pods. For `s3://`:
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, and optionally AWS_SESSION_TOKEN. For `gs://`: GOOGLE_SERVICE_ACCOUNT_KEY,
    the JSON of a key. For `az://` and `abfss://`: AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_SAS_TOKEN, or
    AZURE_CLIENT_ID with AZURE_CLIENT_SECRET and AZURE_TENANT_ID. For `https://`: HTTPS_AUTH_HOST with HTTPS_AUTH_TOKEN,
    or HTTPS_AUTH_USER and HTTPS_AUTH_PASSWORD, or HTTPS_AUTH_HEADER; and HTTPS_AUTH_URLS, signed URLs. Of other Secrets
    and keys nothing is read."""
    service_account_name: ResourceName | None = None
    """A ServiceAccount with a cloud identity (IRSA, EKS Pod Identity, workload identity of Azure or Google), whose
    token the cloud adds. A token of the API server is never mounted."""
    endpoint: Annotated[str, Field(max_length=1024)] | None = None
    """URL of an S3 server other than AWS, without user and password. `http://` sends data and signatures
    unencrypted."""
    region: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Region of the buckets. Default: us-east-1 with an `endpoint`, otherwise the region that AWS reports."""
    path_style: bool | None = None
    """Whether the bucket is in the path instead of the host name. Default: yes with an `endpoint`."""
    requester_pays: bool = False
    """Whether you, and not the owner, pay for requests to buckets of `s3://` that are set up so (Requester Pays)."""
    sse_kms_key_id: Annotated[str, Field(min_length=1, max_length=2048, pattern=KMS_KEY)] | None = None
    """A key of AWS KMS (its id, ARN or `alias/name`), by which the store encrypts all that is written to `s3://`
    (SSE-KMS). Default: as the bucket is set up."""
    ca_config_map_name: ResourceName | None = None
    """A ConfigMap in the job's namespace with the key ca.crt: certificates (PEM) of your own authorities. Stores, web
    servers and catalogs with certificates of theirs are trusted, as are those that everybody trusts."""
    gs: GsStorage | None = None
    """Only for `gs://`."""
    az: AzStorage | None = None
    """Only for `az://` and `abfss://`."""
    allow_http: bool = False
    """Whether inputs may be `http://`: nobody vouches for what is read, and everybody on the way sees it."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (_endpoint_rule("https://s3.example.com or http://minio.lake.svc:9000"),)

    @property
    def endpoints(self) -> Mapping[str, str]:
        """All endpoints that are named, by their fields."""
        named = {
            "storage.endpoint": self.endpoint,
            "storage.gs.endpoint": self.gs and self.gs.endpoint,
            "storage.az.endpoint": self.az and self.az.endpoint,
        }
        return {field: url for field, url in named.items() if url}


class TemplateMetadata(Model):
    """Metadata of the pods."""

    labels: Annotated[Mapping[str, LabelValue], Field(max_length=64)] = {}
    """Additional labels. Labels of gpuquery.io and of Kubernetes itself are refused."""
    annotations: Annotated[Mapping[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)] = {}
    """Additional annotations. Annotations of gpuquery.io are refused."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!has(self.labels) || self.labels.all(k, !{list(RESERVED_LABEL_DOMAINS)}.exists(d, k.startsWith(d)))",
            lambda self: not any(name.startswith(RESERVED_LABEL_DOMAINS) for name in self.labels),
            f"labels of {', '.join(d.rstrip('/') for d in RESERVED_LABEL_DOMAINS)} belong to the operator or to "
            "Kubernetes: choose other names",
            field_path=".labels",
        ),
        Rule(
            f"!has(self.annotations) || self.annotations.all(k, !k.startsWith('{GROUP}/'))",
            lambda self: not any(name.startswith(f"{GROUP}/") for name in self.annotations),
            f"annotations of {GROUP} belong to the operator: choose other names",
            field_path=".annotations",
        ),
    )


class LocalObjectReference(Model):
    """An object in the job's namespace."""

    name: ResourceName
    """Its name."""


RESERVED_VARIABLES = (
    *RESERVED, IN_VARIABLES, "GPUQUERY_.*", "KUBERNETES_.*", "NVIDIA_.*", "CUDA_VISIBLE_DEVICES",
    "DASK_CONFIG", "DASK_SCHEDULER_ADDRESS", "DASK_WORKER_NAME", "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL",
    "HOME", "JOB_COMPLETION_INDEX", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "POLARS_MAX_THREADS", "PYTHON.*", "TMPDIR",
)  # fmt: skip
"""Environment variables that the operator, the image, the kubelet or the device plugin sets, as regular expressions of
the whole name. A job that could set NVIDIA_VISIBLE_DEVICES would reach GPUs that it did not request."""
RESERVED_VARIABLE = f"^({'|'.join(RESERVED_VARIABLES)})$"


class EnvVar(Model):
    """An environment variable of the query's process."""

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=VARIABLE_NAME)]
    """Its name."""
    value: Annotated[str, Field(max_length=4096)]
    """Its value. Never a secret: everyone who may read the job can read it."""


class ResourceClaim(Model):
    """Devices by dynamic resource allocation (Kubernetes 1.34). Exactly one of the two names is set."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=CLAIM_NAME)]
    """Its name within the pod."""
    resource_claim_name: ResourceName | None = None
    """A ResourceClaim in the job's namespace, which all pods share."""
    resource_claim_template_name: ResourceName | None = None
    """A ResourceClaimTemplate in the job's namespace, from which each pod gets its own claim."""
    gpus: bool = True
    """Whether the claim provides the pod's GPUs: then the pod does not request the operator's GPU resource, and the
    claim must provide as many GPUs as `workers.gpus` says. `false` for other devices, such as a channel of a
    ComputeDomain."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.resourceClaimName) != has(self.resourceClaimTemplateName)",
            lambda self: (self.resource_claim_name is None) != (self.resource_claim_template_name is None),
            "exactly one of resourceClaimName and resourceClaimTemplateName must be set",
        ),
    )


class TemplateSpec(Model):
    """The fields of a pod that can be set: where it runs and what it may pull."""

    node_selector: Annotated[Mapping[str, LabelValue], Field(max_length=64)] = {}
    """Labels that the node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=64)] = ()
    """Taints that the pods tolerate."""
    affinity: Affinity | None = None
    """Affinity, as in a pod."""
    topology_spread_constraints: Annotated[tuple[TopologySpreadConstraint, ...], Field(max_length=16)] = ()
    """Topology spread, as in a pod."""
    priority_class_name: ResourceName | None = None
    """PriorityClass of the pods."""
    scheduler_name: ResourceName | None = None
    """A scheduler other than the default."""
    runtime_class_name: ResourceName | None = None
    """RuntimeClass of the pods."""
    resource_claims: Annotated[tuple[ResourceClaim, ...], Field(max_length=8)] = ()
    """Devices by dynamic resource allocation: `[{name: gpus, resourceClaimTemplateName: eight-gpus}]`."""
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...], Field(max_length=16)] = ()
    """Secrets for the registry of the image: `[{name: my-registry}]`."""
    volumes: Annotated[tuple[Volume, ...], Field(max_length=8)] = ()
    """Claims whose files the job reads, by `file://`:
    `[{name: lake, mountPath: /mnt/lake, persistentVolumeClaim: {claimName: lake}}]`. Always read-only."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64)] = ()
    """Environment variables of the query's process: `[{name: CUDF_POLARS__EXECUTOR__FALLBACK_MODE, value: raise}]`.
    Those of CUDF_POLARS__EXECUTOR__ are checked like `executorOptions`, which take precedence."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!has(self.env) || self.env.all(e, !e.name.matches('{RESERVED_VARIABLE}'))",
            lambda self: not any(re.match(RESERVED_VARIABLE, variable.name) for variable in self.env),
            f"{', '.join(name.replace('.*', '*') for name in RESERVED_VARIABLES)} belong to the operator, the image or "
            "the node: credentials come from storage, GPUs from workers.gpus, threads from the CPU limit of "
            "workers.resources",
            field_path=".env",
        ),
        Rule(
            "",  # the list's type says so: it is a map by name
            lambda self: len({variable.name for variable in self.env}) == len(self.env),
            "two variables have the same name",
            field_path=".env",
        ),
        Rule(
            "",  # the list's type says so: it is a map by name
            lambda self: len({claim.name for claim in self.resource_claims}) == len(self.resource_claims),
            "two claims have the same name",
            field_path=".resourceClaims",
        ),
        *VOLUME_RULES,
    )


class Template(Model):
    """Additions to the pods that the operator creates."""

    metadata: TemplateMetadata = TemplateMetadata()
    """Labels and annotations."""
    spec: TemplateSpec = TemplateSpec()
    """Scheduling and pull secrets."""
