"""Objects of a bucket, read and listed through obstore, and through boto3 where obstore cannot.

obstore takes a tenth of the time for a page, but lists whole folders only, all pages of one level at once, and stops at
a key with an empty folder in it (`a//b`). boto3 lists any prefix, page by page, and lets the caller judge the keys.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from gpuquery.api.reasons import Failure
from gpuquery.runner import patience
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.stores import retries
from gpuquery.runner.stores.base import Found
from gpuquery.runner.stores.objects import Objects
from gpuquery.runner.stores.s3 import client, errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_s3 import S3Client

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.vended import Loan

_CLEAR = {Failure.STORAGE_AUTH, Failure.STORAGE_UNAVAILABLE, Failure.BUCKET_NOT_FOUND, Failure.INVALID_ENDPOINT}
"""Failures that are about no single key."""


class S3Objects(Objects):
    """Objects of one bucket."""

    def __init__(self, bucket: str, access: StoreAccess, loan: Loan | None = None) -> None:
        """Open nothing yet but the way to read."""
        super().__init__(f"s3://{bucket}", client.obstore_client(access, bucket, loan))
        self._bucket = bucket
        self._access = access
        self._loan = loan

    one_level_by_pages = True

    def below(self, prefix: str, *, deep: bool = True) -> Iterator[Sequence[Found]]:
        """List a prefix, a thousand keys in one request. Where one key is odd, others may come twice."""
        if deep and (not prefix or prefix.endswith("/")):
            try:
                yield from super().below(prefix)
            except JobError as exc:
                if exc.failure in _CLEAR:
                    raise
            else:
                return
        given: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix} | ({} if deep else {"Delimiter": "/"})
        while True:
            page = self._asked(given)
            found = [Found(one["Key"], one["Size"], one["ETag"].strip('"')) for one in page.get("Contents", ())]
            yield found + [Found(one["Prefix"], 0) for one in page.get("CommonPrefixes", ())]
            if not page.get("IsTruncated"):
                return
            given["ContinuationToken"] = page["NextContinuationToken"]

    @functools.cached_property
    def _lister(self) -> S3Client:
        return client.s3_client(self._access, shared=client.session(self._loan))

    def _asked(self, given: dict[str, Any]) -> Any:
        what = f"listing s3://{self._bucket}/{given['Prefix']}"
        try:
            return patience.until(
                lambda: self._lister.list_objects_v2(**given), seconds=retries.PATIENCE, again=errors.is_transient
            )
        except (ClientError, BotoCoreError, OSError) as exc:
            if isinstance(exc, ClientError) and errors.error_code(exc) == "NoSuchBucket":
                raise JobError(Failure.BUCKET_NOT_FOUND, f'{what}: bucket "{self._bucket}" does not exist') from exc
            raise classify(exc, what) from exc
