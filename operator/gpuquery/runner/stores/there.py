"""There: what a store holds where an input's files should be, looked up once they were not found."""

from __future__ import annotations

import contextlib
import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import error_code
from gpuquery.runner.stores import storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_s3 import S3Client

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

MOST = 5
"""Names that a message tells."""
LOOKED_AT = 1000
"""Names among which those are looked for that are close to what was asked for: one page of a store."""


def missing(item: Input, store: StoreAccess) -> JobError:
    """Return why nothing was found at an input's URI: BucketNotFound, or InvalidInput with what is there instead."""
    place = storage.locate(item.uri)
    names: Sequence[str] = ()
    if place.is_s3:
        client = storage.s3_client(store, hurried=True)
        if not _has_bucket(client, place.bucket):
            return _no_bucket(item, client, place.bucket, store)
        folder = _folder(place.prefix)
        names = _below(client, place.bucket, folder)
        at = f"s3://{place.bucket}/{folder}"
    else:
        folder = _folder(place.prefix)
        at = f"file://{folder}"
        with contextlib.suppress(OSError):
            names = sorted(one.name + ("/" if one.is_dir() else "") for one in Path(folder).iterdir())
    wanted = place.prefix.removeprefix(folder).partition("/")[0]
    told = f"; in {at} there is {_listed(_closest_first(wanted, names))}" if names else f"; there is nothing in {at}"
    return JobError(Failure.INVALID_INPUT, f'input "{item.name}": no file matches {item.uri}{told}')


def _folder(prefix: str) -> str:
    """The deepest folder that stands in a URI without a star."""
    return prefix.split("*", maxsplit=1)[0].rpartition("/")[0] + "/" if "/" in prefix.split("*", maxsplit=1)[0] else ""


def _has_bucket(client: S3Client, bucket: str) -> bool:
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as exc:
        return error_code(exc) not in ("404", "NoSuchBucket")
    except BotoCoreError:
        return True
    return True


def _no_bucket(item: Input, client: S3Client, bucket: str, store: StoreAccess) -> JobError:
    names: list[str] = []
    with contextlib.suppress(ClientError, BotoCoreError):  # whoever may not list them gets no hint
        names = [one["Name"] for one in client.list_buckets().get("Buckets", ())]
    close = difflib.get_close_matches(bucket, names, 1)
    hint = f"; did you mean {close[0]}?" if close else f"; there is {_listed(names)}" if names else ""
    where = store.endpoint or "AWS"
    return JobError(
        Failure.BUCKET_NOT_FOUND,
        f'input "{item.name}": {item.uri}: bucket "{bucket}" does not exist at {where}{hint}: correct the '
        "input's uri, or storage.endpoint",
    )


def _below(client: S3Client, bucket: str, folder: str) -> list[str]:
    with contextlib.suppress(ClientError, BotoCoreError):
        page = client.list_objects_v2(Bucket=bucket, Prefix=folder, Delimiter="/", MaxKeys=LOOKED_AT)
        found = [one["Prefix"] for one in page.get("CommonPrefixes", ())]
        found += [one["Key"] for one in page.get("Contents", ())]
        return sorted(key.removeprefix(folder) for key in found if key != folder)
    return []


def _closest_first(wanted: str, names: Sequence[str]) -> list[str]:
    close = difflib.get_close_matches(wanted, names, MOST)
    return close + [name for name in names if name not in close]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST]) + (", ..." if len(names) > MOST else "")
