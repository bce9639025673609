"""Where data lives and how to reach it: one meaning of a URI and of `StoreAccess` for boto3 and for Polars.

Credentials never pass through here: boto3 finds them in the pod's environment (a Secret, or the token of a cloud
identity), and Polars asks boto3. So no plan, log line or error message can hold one.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import boto3
from botocore.config import Config

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.plan.plan import DEFAULT_REGION, StoreAccess
from gpuquery.plan.releases import POLARS_RETRIES
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT = 5
"""Seconds until an endpoint that does not answer counts as unreachable, once."""
READ_TIMEOUT = 30
HURRIED_READ_TIMEOUT = 8
PATIENCE = 300
"""Seconds for which a request is tried again: longer than a store's restart, shorter than a person's patience."""
CONNECTIONS = 32
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


@dataclass(frozen=True)
class Location:
    """A folder or file: a bucket and a prefix without slashes around it, or (`bucket` empty) an absolute path."""

    uri: str
    bucket: str
    prefix: str

    @property
    def is_s3(self) -> bool:
        """Whether it is in an object store."""
        return bool(self.bucket)


def locate(uri: str) -> Location:
    """Split `s3://bucket/prefix` or `file:///path`. Percent signs are taken literally, as Polars takes them."""
    scheme, _, rest = uri.partition("://")
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        if bucket:
            return Location(uri.rstrip("/"), bucket, prefix.strip("/"))
    elif scheme == "file" and rest.startswith("/"):
        return Location(uri.rstrip("/"), "", rest.rstrip("/") or "/")
    raise JobError(Failure.INVALID_PLAN, f"{uri!r} is not a place for data: write s3://bucket/folder or file:///folder")


def session() -> boto3.session.Session:
    """Make a session; clients that share one share what it has read and the credentials that it has found."""
    return boto3.session.Session()


def s3_client(access: StoreAccess, *, hurried: bool = False, shared: boto3.session.Session | None = None) -> S3Client:
    """Make a boto3 client that never retries by itself: the store does, until a deadline and not by a count.

    `hurried` is for questions whose answer must come within seconds, be it "no".
    """
    if access.endpoint:
        read_endpoint(access.endpoint)
    path_style = access.path_style or bool(access.endpoint and _is_address(access.endpoint))
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=HURRIED_READ_TIMEOUT if hurried else READ_TIMEOUT,
        retries={"total_max_attempts": 1},
        max_pool_connections=CONNECTIONS,
        s3={"addressing_style": "path" if path_style else "auto"},
        tcp_keepalive=True,
        # TLS and payload signatures guard the bytes already; many S3 servers do not take trailing checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return (shared or session()).client(
        "s3", endpoint_url=access.endpoint, region_name=region_of(access), config=config
    )


def read_endpoint(endpoint: str) -> SplitResult:
    """Split an endpoint. Raises InvalidEndpoint for a host or a port that there cannot be, in botocore's sense too."""
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
    except ValueError as exc:
        raise _no_endpoint(endpoint, str(exc)) from None
    if port == 0:
        raise _no_endpoint(endpoint, "there is no port 0")
    if ":" not in host:  # else urlsplit has read it as an address
        for label in host.removesuffix(".").split("."):
            if not _LABEL.fullmatch(label):
                what = f'"{clean(label, 80)}" is no part of a host\'s name' if label else "a part of the host is empty"
                raise _no_endpoint(endpoint, what)
    return parts


def _no_endpoint(endpoint: str, why: str) -> JobError:
    return JobError(
        Failure.INVALID_ENDPOINT,
        f'storage.endpoint "{clean(endpoint, 200)}": {why}: correct it, like https://s3.example.com or '
        "http://minio.lake.svc:9000",
    )


def polars_options(access: StoreAccess, uri: str) -> dict[str, Any]:
    """Give `storage_options` for a scan of `uri` by the Polars that is installed; empty for a local path."""
    options = store_options(access, uri)
    if _polars() < POLARS_RETRIES:
        return {name: str(value) for name, value in options.items() if not name.startswith("retry_")}
    return options


@functools.cache
def _polars() -> tuple[int, ...]:
    return tuple(int(part) for part in metadata.version("polars").split(".")[:2])


def store_options(access: StoreAccess, uri: str) -> dict[str, Any]:
    """Give the options of object_store (Polars, obstore) for `uri`; empty for a local path.

    Polars' own defaults give up after eight tries within seconds; these survive an outage of minutes.
    """
    place = locate(uri)
    if not place.is_s3:
        return {}
    options: dict[str, Any] = {
        "max_retries": 50,
        "retry_timeout_ms": PATIENCE * 1000,
        "retry_max_backoff_ms": 10_000,
        "timeout": f"{READ_TIMEOUT}s",
        "connect_timeout": f"{CONNECT_TIMEOUT}s",
    }
    if region := region_of(access):
        options["aws_region"] = region
    if access.endpoint:
        host_style = not access.path_style and not _is_address(access.endpoint)
        options["aws_endpoint_url"] = _with_bucket(access.endpoint, place.bucket) if host_style else access.endpoint
        options["aws_virtual_hosted_style_request"] = "true" if host_style else "false"
        if access.endpoint.startswith("http://"):
            options["aws_allow_http"] = "true"
    return options


def region_of(access: StoreAccess) -> str | None:
    """Return the region to sign for; None leaves it to what AWS says."""
    return access.region or (DEFAULT_REGION if access.endpoint else None)


def _is_address(endpoint: str) -> bool:
    """Whether the endpoint's host is an IP address or a single word: no bucket name can stand before those."""
    host = urlsplit(endpoint).hostname or ""
    return "." not in host or host.replace(".", "").isdigit() or ":" in host


def _with_bucket(endpoint: str, bucket: str) -> str:
    """Object_store wants the bucket in the endpoint's host name when it addresses by host."""
    parts = urlsplit(endpoint)
    return parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl()
