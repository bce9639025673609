"""How S3 is reached: one meaning of `StoreAccess` for boto3, for Polars and for obstore.

boto3 finds credentials in the pod's environment (a Secret, or the token of a cloud identity), and Polars and obstore
ask boto3, or for what a catalog vends `vended`. So no plan, log line or error message can hold one.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.handlers import add_expect_header
from botocore.session import get_session
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.store import S3Store

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import DEFAULT_REGION, StoreAccess
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify, with_way_out
from gpuquery.runner.stores import endpoint, retries
from gpuquery.runner.stores.retries import CONNECT_TIMEOUT, READ_TIMEOUT

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from gpuquery.runner.stores.vended import Loan

HURRIED_READ_TIMEOUT = 8
_ASKED_BEFORE = timedelta(minutes=15)
"""botocore asks for credentials so long before they end."""
CONNECTIONS = 32


def session(loan: Loan | None = None) -> boto3.session.Session:
    """Make a session. Clients of one session share its configuration and credentials, which a loan renews."""
    if loan is None:
        return boto3.session.Session()

    def lent() -> dict[str, str]:
        keys, ends = loan()
        until = datetime.fromtimestamp(ends, UTC) + _ASKED_BEFORE
        named = {"access_key": "aws_access_key_id", "secret_key": "aws_secret_access_key", "token": "aws_session_token"}
        return {**{name: keys.get(key, "") for name, key in named.items()}, "expiry_time": until.isoformat()}

    core = get_session()
    core._credentials = RefreshableCredentials.create_from_metadata(lent(), lent, "vended")  # type: ignore[attr-defined]
    return boto3.session.Session(botocore_session=core)


def s3_client(access: StoreAccess, *, hurried: bool = False, shared: boto3.session.Session | None = None) -> S3Client:
    """Make a boto3 client that never retries by itself: the store retries, until a deadline.

    `hurried` is for calls that must succeed or fail within seconds.
    """
    if access.endpoint:
        endpoint.parse(access.endpoint)
    path_style = access.path_style or bool(access.endpoint and _is_address(access.endpoint))
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=HURRIED_READ_TIMEOUT if hurried else READ_TIMEOUT,
        retries={"total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
        # "auto" would put the bucket into the path of every endpoint that is not AWS.
        s3={"addressing_style": "path" if path_style else "virtual" if access.endpoint else "auto"},
        tcp_keepalive=True,
        # TLS and payload signatures guard the bytes already; many S3 servers do not take trailing checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    made = (shared or session()).client(
        "s3", endpoint_url=access.endpoint, region_name=region_of(access), config=config
    )
    if access.requester_pays:
        made.meta.events.register("before-sign.s3", _pay)
    # It costs a round trip for each piece, to save the bytes of those that are refused.
    made.meta.events.unregister("before-call.s3", add_expect_header)
    return made


def _pay(request: Any, **_: Any) -> None:
    """Say in a request of boto3 what `RequestPayer` says, which not every method takes."""
    request.headers["x-amz-request-payer"] = "requester"


def polars_options(access: StoreAccess, bucket: str) -> dict[str, Any]:
    """Return `storage_options` for a scan of a bucket by the Polars that is installed."""
    return retries.for_polars(store_options(access, bucket))


def store_options(access: StoreAccess, bucket: str) -> dict[str, Any]:
    """Return the options of object_store (Polars, obstore) for a bucket."""
    options = retries.options()
    if region := region_of(access):
        options["aws_region"] = region
    if access.requester_pays:
        options["aws_request_payer"] = "true"
    if access.endpoint:
        host_style = not access.path_style and not _is_address(access.endpoint)
        options["aws_endpoint_url"] = _with_bucket(access.endpoint, bucket) if host_style else access.endpoint
        options["aws_virtual_hosted_style_request"] = "true" if host_style else "false"
        if access.endpoint.startswith("http://"):
            options["aws_allow_http"] = "true"
    return options


def obstore_client(access: StoreAccess, bucket: str, loan: Loan | None = None) -> S3Store:
    """Make an obstore client of a bucket. Raises JobError."""
    options = store_options(access, bucket)
    config = {name: value for name, value in options.items() if name.startswith("aws_") and name != "aws_allow_http"}
    if region := config.get("aws_region") or _region_of_bucket(access, bucket):
        config["aws_region"] = region
    what = f"reading s3://{bucket}"
    try:
        credentials = loan.for_obstore if loan else Boto3CredentialProvider(session())
        if loan:
            loan.keys()  # what is wrong with them is told here
    except JobError:
        raise
    except ValueError as exc:  # boto3 has found none
        raise with_way_out(Failure.STORAGE_AUTH, f"{what}: S3 error: Unable to locate credentials") from exc
    except Exception as exc:
        raise classify(exc, what) from exc
    client_options, retry_config = retries.for_obstore(allow_http=options.get("aws_allow_http") == "true")
    return S3Store(
        bucket,
        config=config,  # type: ignore[arg-type]
        client_options=client_options,
        retry_config=retry_config,
        credential_provider=credentials,
    )


def region_of(access: StoreAccess) -> str | None:
    """Return the region to sign for; None leaves it to what AWS says."""
    return access.region or (DEFAULT_REGION if access.endpoint else None)


def _region_of_bucket(access: StoreAccess, bucket: str) -> str | None:
    """Ask AWS where a bucket is, as boto3 and Polars find out by themselves and obstore does not."""
    if named := os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        return named
    with contextlib.suppress(Exception):  # whatever is wrong, the first read has the better message
        headers = s3_client(access, hurried=True).head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPHeaders"]
        return headers.get("x-amz-bucket-region")
    return None


def _is_address(endpoint: str) -> bool:
    """Whether the endpoint's host is an IP address or a single word: no bucket name can stand before those."""
    host = urlsplit(endpoint).hostname or ""
    return "." not in host or host.replace(".", "").isdigit() or ":" in host


def _with_bucket(endpoint: str, bucket: str) -> str:
    """Object_store wants the bucket in the endpoint's host name when it addresses by host."""
    parts = urlsplit(endpoint)
    return parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl()
