"""What the GPU reader can read: KvikIO's rules, which are not those of Polars.

Polars reads schemas with its own client of object stores, and the rows are read by KvikIO. So an input whose schema is
known may still be unreadable on a GPU: KvikIO takes credentials, region and endpoint from five environment variables
and from nowhere else (no cloud identity, no profile), and cudf-polars reads CSV and NDJSON from local files only
(`Reading CSV from remote is not yet supported`, `cudf_polars/dsl/ir.py` of 25.08 to 26.10).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input, InputFormat
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.stores import storage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.plan.plan import Plan, StoreAccess

COMPRESSED = (".gz", ".zst", ".zlib", ".bz2")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_WAY_OUT = "write it as parquet, or use engine: cpu"


def check_formats(plan: Plan) -> None:
    """Raise JobError(InvalidInput) that names each input that no GPU engine reads; looks at nothing but the plan."""
    if problems := [text for item in plan.inputs if (text := _unreadable(item))]:
        raise JobError(Failure.INVALID_INPUT, "\n".join(problems))


def check_access(plan: Plan) -> tuple[str, ...]:
    """Raise StorageAuth if KvikIO could not be given what it needs to reach the inputs; returns warnings.

    Resolves credentials, which may ask a cloud's token service, and reads no data.
    """
    if not any(storage.locate(item.uri).is_s3 for item in plan.inputs):
        return ()
    _, warnings = variables(plan.store)
    return warnings


def export(plan: Plan) -> None:
    """Put into this process's environment what KvikIO needs of credentials and places.

    Not before the sink has its own clients: those can renew credentials, and what stands in the environment cannot.
    """
    os.environ.update(for_workers(plan))


def for_workers(plan: Plan) -> Mapping[str, str]:
    """Return what KvikIO needs in the environment of another process of this pod; raises StorageAuth."""
    if not any(storage.locate(item.uri).is_s3 for item in plan.inputs):
        return {}
    return variables(plan.store)[0]


def variables(store: StoreAccess) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Return the environment for KvikIO, with credentials as boto3 finds them, and warnings; raises StorageAuth."""
    session = storage.session()
    try:
        credentials = session.get_credentials()
        frozen = credentials.get_frozen_credentials() if credentials is not None else None
    except Exception as exc:
        raise classify(exc, "looking for credentials of the object store", default=Failure.STORAGE_AUTH) from None
    if credentials is None or frozen is None or not (frozen.access_key and frozen.secret_key):
        raise JobError(
            Failure.STORAGE_AUTH,
            f"no credentials for the inputs: the GPU reader needs {' and '.join(_KEYS)}: name a Secret with them in "
            "storage.secretName, or a ServiceAccount with a cloud identity in storage.serviceAccountName",
        )
    region = storage.region_of(store) or session.region_name
    if not region:
        raise JobError(
            Failure.STORAGE_AUTH,
            "the region of the buckets is not known, and the GPU reader does not ask for it: set storage.region",
        )
    found = {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SECRET_ACCESS_KEY": frozen.secret_key}
    found["AWS_DEFAULT_REGION"] = region
    if frozen.token:
        found["AWS_SESSION_TOKEN"] = frozen.token
    if store.endpoint:
        found["AWS_ENDPOINT_URL"] = store.endpoint
        # botocore would take that for the endpoint of every service, of the one that renews credentials too.
        found["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"
    return found, (*_expiring(credentials), *_addressing(store))


def _unreadable(item: Input) -> str:
    text = item.format in (InputFormat.CSV, InputFormat.NDJSON)
    kind = item.format.value.upper()
    if text and storage.locate(item.uri).is_s3:
        return f'input "{item.name}" ({item.uri}): the GPU engines read {kind} from local files only: {_WAY_OUT}'
    if text and item.uri.lower().endswith(COMPRESSED):
        return f'input "{item.name}" ({item.uri}): the GPU engines read no compressed {kind}: {_WAY_OUT}'
    return ""


def _expiring(credentials: Any) -> Sequence[str]:
    """Credentials of a cloud identity end, and the environment is not renewed while the query runs."""
    ends = getattr(credentials, "_expiry_time", None)
    if not isinstance(ends, datetime):
        return ()
    minutes = max(0, int((ends - datetime.now(UTC)).total_seconds() // 60))
    return (
        f"the credentials of the cloud identity end in {minutes} minutes and the GPU reader cannot renew them: a query "
        "that reads for longer fails; raise the session's duration, or use storage.secretName",
    )


def _addressing(store: StoreAccess) -> Sequence[str]:
    if not store.endpoint or store.path_style:
        return ()
    return (
        f"storage.pathStyle is false, but the GPU reader puts the bucket into the path at {store.endpoint} in any case",
    )
