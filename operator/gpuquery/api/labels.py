"""Group, version, labels, annotations and names: all strings that selectors and manifests rely on."""

from __future__ import annotations

GROUP = "gpuquery.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "GpuQueryJob"
PLURAL = "gpuqueryjobs"
SINGULAR = "gpuqueryjob"
SHORT_NAME = "gqj"

FIELD_MANAGER = "gpuquery-operator"

LABEL_JOB = f"{GROUP}/job"
LABEL_JOB_UID = f"{GROUP}/job-uid"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_PREFLIGHT = f"{GROUP}/preflight"
"""Number of a run of the preflight; objects with this label belong to no attempt."""
LABEL_DASK = f"{GROUP}/dask"
"""On pods that dask-kubernetes creates for an attempt: `scheduler` or `worker`."""
LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_PART_OF = "app.kubernetes.io/part-of"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
ANNOTATION_ENGINE = f"{GROUP}/default-engine"
ANNOTATION_CLUSTER = f"{GROUP}/default-cluster"
ANNOTATION_RELEASE = f"{GROUP}/default-release"
"""On a Namespace: defaults of its jobs."""
ANNOTATION_MAX_PODS = f"{GROUP}/max-pods"
ANNOTATION_MAX_GPUS = f"{GROUP}/max-gpus"
ANNOTATION_MAX_LIVE_JOBS = f"{GROUP}/max-live-jobs"
ANNOTATION_MAX_FINISHED_JOBS = f"{GROUP}/max-finished-jobs"
"""On a Namespace: limits of each job, and of the namespace."""
ANNOTATION_ALLOW = f"{GROUP}/allow-"
"""On a Namespace, followed by the name of a policy: what its jobs may ask for, instead of the operator's setting."""
DEFAULTS_CONFIG_MAP = "gpuquery-defaults"
PUBLIC_NAMESPACE = "kube-public"
"""Where authors of jobs can read the operator's settings. An operator that serves only some namespaces publishes them
there."""
RESERVED_LABEL_DOMAINS = (f"{GROUP}/", "app.kubernetes.io/", "batch.kubernetes.io/", "kubernetes.io/")

CONTAINER = "runner"
"""The name of the container that runs the query; `kubectl logs -c runner`."""

PLAN_KEY = "plan.json"
PLAN_DIRECTORY = "/etc/gpuquery"
SCRATCH_DIRECTORY = "/scratch"
TERMINATION_LOG = "/dev/termination-log"
NO_DRIVER_DIRECTORY = "/opt/gpuquery/no-driver"
"""Where a RAPIDS runtime image has a stand-in for the driver's libnvidia-ml.so.1, without which release 26.04 cannot be
imported. Only for LD_LIBRARY_PATH of preflight pods: with a GPU it would hide the real library."""
PROGRESS_PORT = 8080
DASK_PORT = 8786
DASHBOARD_PORT = 8787
"""Ports of a Dask scheduler and its dashboard."""
LABEL_DASK_CLUSTER = "dask.org/cluster-name"
"""dask-kubernetes' label on everything that it creates for a DaskCluster."""
DASK_GROUP = "kubernetes.dask.org"
DASK_VERSION = "v1"
DASK_KIND = "DaskCluster"
DASK_PLURAL = "daskclusters"
DASK_GROUPS_PLURAL = "daskworkergroups"
"""The objects of dask-kubernetes."""
RENDEZVOUS_PORT = 8081
"""Port of index 0 for the other pods of an attempt with ranks, and of every pod for its peers."""
TOKEN_DIRECTORY = "/var/run/gpuquery"  # noqa: S105
TLS_DIRECTORY = "/var/run/gpuquery-tls"
"""Certificates of the client of an external Dask cluster, if the job names a Secret."""
CA_DIRECTORY = "/var/run/gpuquery-ca"
CA_KEY = "ca.crt"
"""Key of the job's ConfigMap, and name of the file in CA_DIRECTORY: authorities that its clients trust."""
CA_VARIABLE = "GPUQUERY_CA_FILE"
"""Where processes of a pod find that file; unset if the job names none."""
TOKEN_KEY = "token"  # noqa: S105
"""Key of the attempt's Secret, and name of the file in TOKEN_DIRECTORY: the token with which pods of an attempt
authenticate."""


def scheduler_name(cluster: str) -> str:
    """Name of the Service that dask-kubernetes creates for the scheduler of a DaskCluster."""
    return f"{cluster}-scheduler"


# A pod's hostname is `<attempt name>-<index>` and must fit into one DNS label of 63 characters:
# 44 (job) + "-" + 5 (uid) + "-" + 4 (attempt) + "-" + 4 (index), and the Job controller needs room for its own suffix.
MAX_NAME_LENGTH = 44
# dask-kubernetes takes names of at most 53 characters: 42 (job) + "-" + 5 (uid) + "-" + 4 (attempt).
MAX_DASK_NAME_LENGTH = 42


def attempt_name(job_name: str, uid: str, attempt: int) -> str:
    """Name of everything that belongs to one attempt (Job, Service, ConfigMap): `<job>-<uid5>-<attempt>`.

    The part of the UID separates a job from a deleted one of the same name: pods of the old one may still be alive
    under the old Service while the new one starts.
    """
    return f"{job_name}-{uid.replace('-', '')[:5]}-{attempt}"


def policy_name(job_name: str, uid: str) -> str:
    """Name of the NetworkPolicy of a job, which applies to all of its pods: `<job>-<uid5>`."""
    return f"{job_name}-{uid.replace('-', '')[:5]}"


def preflight_name(job_name: str, uid: str, run: int) -> str:
    """Name of the objects of one run of the preflight: `<job>-<uid5>-p<run>`, which no attempt has."""
    return f"{job_name}-{uid.replace('-', '')[:5]}-p{run}"
