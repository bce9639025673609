"""S3: AWS, and every server that speaks its protocol and honours conditional writes."""

from __future__ import annotations

import contextlib
import difflib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from gpuquery.api import stores
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.stores import endpoint, vended
from gpuquery.runner.stores.base import Backend, Location
from gpuquery.runner.stores.s3 import client, errors
from gpuquery.runner.stores.s3.objects import S3Objects
from gpuquery.runner.stores.s3.table import S3Store

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from mypy_boto3_s3 import S3Client

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.vended import Loan

LOOKED_AT = 1000
"""Names that are listed to say what is there: one page."""
SHOWN = 5
NEEDED = tuple(key for key, optional in stores.S3.keys.items() if not optional)
_MAKE = (
    "make the Secret in storage.secretName anew, with `printf` in place of `echo`, or with `kubectl create secret "
    "--from-literal`"
)


class S3(Backend):
    """Objects in buckets."""

    example = "s3://bucket/folder"
    remote = True
    unsafe = (
        "ignores conditional writes (If-None-Match: *), so two attempts could both commit: use a store that honours "
        "them (AWS S3, SeaweedFS, MinIO, Ceph from Squid on)"
    )
    signs_lost_to_gpus = ' #?%"<>[]{}|\\^`'
    """KvikIO puts a key into a URL as it is (`kvikio/detail/url.hpp`; tried with 26.10): of `a#b` it asks for `a`, of
    `a%2Fb` for `a/b`, and it refuses blanks."""
    codes = errors.CODES
    failure_of = staticmethod(errors.failure_of)
    text_of = staticmethod(errors.text_of)

    def locate(self, uri: str) -> Location | None:
        """Split `s3://bucket/prefix`."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        return Location(uri.rstrip("/"), bucket, prefix.strip("/")) if bucket else None

    def files(self, uri: str, access: StoreAccess) -> S3Objects:
        """List through boto3, and read through obstore."""
        loan = vended.of(uri)
        return S3Objects(_bucket(uri), vended.reached(loan, access), loan)

    def table(
        self, place: Location, access: StoreAccess, *, staging: str, stop: threading.Event
    ) -> tuple[S3Store, S3Store]:
        """Write through boto3: obstore can neither begin an upload in one process and complete it in another, nor
        list the uploads that were begun."""
        loan = vended.of(place.uri)
        shared, access = client.session(loan), vended.reached(loan, access)
        return S3Store(place, access, stop=stop, shared=shared), S3Store(place, access, hurried=True, shared=shared)

    def scan_options(self, uri: str, access: StoreAccess) -> dict[str, Any]:
        """Say where the store is; Polars asks boto3 for credentials."""
        return client.polars_options(vended.reached(vended.of(uri), access), _bucket(uri))

    def names(self, place: Location, folder: str, access: StoreAccess) -> Sequence[str]:
        """List one page."""
        asked = client.s3_client(access, hurried=True)
        if not _has_bucket(asked, place.bucket):
            raise _no_bucket(asked, place.bucket, access)
        with contextlib.suppress(ClientError, BotoCoreError):
            page = asked.list_objects_v2(Bucket=place.bucket, Prefix=folder, Delimiter="/", MaxKeys=LOOKED_AT)
            found = [one["Prefix"] for one in page.get("CommonPrefixes", ())]
            found += [one["Key"] for one in page.get("Contents", ())]
            return sorted(key.removeprefix(folder) for key in found if key != folder)
        return ()

    def check(self, places: Sequence[Location], access: StoreAccess) -> None:
        """Look at the keys, at the endpoint, and where the bucket is part of the host's name, at that name."""
        _check_keys()
        if not access.endpoint:
            return  # AWS
        if not endpoint.answers(access.endpoint):
            return
        for place in places:
            options = client.store_options(access, place.bucket)
            host = urlsplit(options["aws_endpoint_url"]).hostname or ""
            endpoint.resolves(
                host,
                f'{place.uri}: the host "{host}" is not known: set storage.pathStyle: true, if the bucket belongs '
                f'into the path at storage.endpoint "{access.endpoint}"',
            )

    def kept_from_gpus(self, uri: str, access: StoreAccess) -> str:
        """Refuse what needs a header."""
        if not access.requester_pays:
            return ""
        return (
            "storage.requesterPays is true, and the GPU readers of RAPIDS 25.08 to 26.10 cannot say so: copy it to a "
            "bucket of yours, or use engine: cpu"
        )

    def reader_variables(
        self, access: StoreAccess, loan: Loan | None = None
    ) -> tuple[Mapping[str, str], tuple[str, ...]]:
        """Find the credentials as boto3 does, and write them down for KvikIO, which knows nothing but variables."""
        session = client.session(loan) if loan else client.session()
        access = vended.reached(loan, access)
        try:
            credentials = session.get_credentials()
            frozen = credentials.get_frozen_credentials() if credentials is not None else None
        except Exception as exc:
            raise classify(exc, "looking for credentials of the object store", default=Failure.STORAGE_AUTH) from None
        if credentials is None or frozen is None or not (frozen.access_key and frozen.secret_key):
            raise JobError(
                Failure.STORAGE_AUTH,
                f"no credentials for the inputs: the GPU reader needs {' and '.join(NEEDED)}: name a Secret with them "
                "in storage.secretName, or a ServiceAccount with a cloud identity in storage.serviceAccountName",
            )
        region = client.region_of(access) or session.region_name
        if not region:
            raise JobError(
                Failure.STORAGE_AUTH,
                "the region of the buckets is not known, and the GPU reader does not ask for it: set storage.region",
            )
        found = {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SECRET_ACCESS_KEY": frozen.secret_key}
        found["AWS_DEFAULT_REGION"] = region
        if frozen.token or loan:  # an older token must not stay
            found["AWS_SESSION_TOKEN"] = frozen.token or ""
        if access.endpoint:
            found["AWS_ENDPOINT_URL"] = access.endpoint
            # botocore would take that for the endpoint of every service, of the one that renews credentials too.
            found["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"
        ends = loan.keys().ends if loan else getattr(credentials, "_expiry_time", None)
        return found, (*_expiring(ends, loan), *_addressing(access))


def _bucket(uri: str) -> str:
    return uri.removeprefix("s3://").partition("/")[0]


def _check_keys() -> None:
    """Refuse keys with characters that no key has, without showing them: StorageAuth."""
    for name in stores.S3.keys:
        key = os.environ.get(name, "")
        if key.strip() != key:
            where = "begins" if key.lstrip() != key else "ends"
            edge = key[0] if where == "begins" else key[-1]
            what = "a line break" if edge in "\r\n" else "a blank"
            raise JobError(Failure.STORAGE_AUTH, f"the key in {name} {where} with {what}: {_MAKE}")
        if not (key.isascii() and (not key or key.isprintable())) or " " in key:
            raise JobError(
                Failure.STORAGE_AUTH, f"the key in {name} holds a blank or a character that is in no key: {_MAKE}"
            )


def _has_bucket(asked: S3Client, bucket: str) -> bool:
    try:
        asked.head_bucket(Bucket=bucket)
    except ClientError as exc:
        return errors.error_code(exc) not in ("404", "NoSuchBucket")
    except BotoCoreError:
        return True
    return True


def _no_bucket(asked: S3Client, bucket: str, access: StoreAccess) -> JobError:
    names: list[str] = []
    with contextlib.suppress(ClientError, BotoCoreError):  # without the right to list them there is no hint
        names = [one["Name"] for one in asked.list_buckets().get("Buckets", ())]
    close = difflib.get_close_matches(bucket, names, 1)
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    hint = f"; did you mean {close[0]}?" if close else f"; there is {shown}" if names else ""
    return JobError(
        Failure.BUCKET_NOT_FOUND,
        f'bucket "{bucket}" does not exist at {access.endpoint or "AWS"}{hint}: correct the input\'s uri, or '
        "storage.endpoint",
    )


def _expiring(ends: Any, loan: Loan | None) -> Sequence[str]:
    """Credentials that are no Secret's end, and the environment is not renewed while the query runs."""
    if not isinstance(ends, datetime):
        return ()
    minutes = max(0, int((ends - datetime.now(UTC)).total_seconds() // 60))
    whose = f"that are vended for {loan.lease.what}" if loan else "of the cloud identity"
    return (
        f"the credentials {whose} end in {minutes} minutes and the GPU reader cannot renew them: a query "
        "that reads for longer fails; raise the session's duration, or use storage.secretName",
    )


def _addressing(access: StoreAccess) -> Sequence[str]:
    if not access.endpoint or access.path_style:
        return ()
    return (
        f"storage.pathStyle is false, but the GPU reader puts the bucket into the path at {access.endpoint} in any "
        "case",
    )
