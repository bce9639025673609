"""A table in S3: deferred multipart uploads, conditional PUT, and patience.

What S3 answers clearly ("403", "no such bucket") is never tried again.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner import patience
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.stores import retries
from gpuquery.runner.stores.base import DATA, Dangling, Location, Piece, Store, Stored, checked, updated
from gpuquery.runner.stores.s3 import client
from gpuquery.runner.stores.s3.errors import error_code, is_transient, refused, status
from gpuquery.runner.stores.s3.quick import Quick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from boto3.session import Session
    from mypy_boto3_s3 import S3Client

    from gpuquery.plan.plan import StoreAccess

T = TypeVar("T")

MAX_KEY_BYTES = 1024
HURRIED_PATIENCE = 6.0
DELETE_BATCH = 1000

_UPLOAD_ID = re.compile(r"[\x21-\x7e]{1,1024}")


class S3Store(Store):
    """The objects below one prefix of a bucket."""

    threads = 16
    lost = "did a lifecycle rule of the bucket drop it (AbortIncompleteMultipartUpload)?"

    def __init__(
        self,
        place: Location,
        access: StoreAccess,
        *,
        hurried: bool = False,
        stop: threading.Event | None = None,
        shared: Session | None = None,
    ) -> None:
        """`hurried` gives up within seconds, for preflight and clean-up; `stop` ends all waiting when it is set."""
        self._client: S3Client = _client(access, hurried, shared)
        self._quick = Quick(self._client)
        self._encryption = _encryption(access)
        self._bucket = place.bucket
        self._root = f"{place.prefix}/" if place.prefix else ""
        self._uri = place.uri
        self._patience = HURRIED_PATIENCE if hurried else float(retries.PATIENCE)
        self._stop = stop or threading.Event()

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""

        def read(**at: str) -> bytes:
            return self._client.get_object(**at)["Body"].read()  # type: ignore[arg-type]

        found: bytes | None = self._ask("reading", key, read, none_if=_missing)
        return found

    def put(self, key: str, body: bytes) -> None:
        """Write an object."""
        self._ask("writing", key, self._quick.put_object, Body=body, **self._encryption)

    def create(self, key: str, body: bytes) -> bool:
        """Write an object if there is none."""
        put, given = self._client.put_object, {"Body": body, "IfNoneMatch": "*", **self._encryption}
        return self._ask("creating", key, put, none_if=_exists, again=_undecided, **given) is not None

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> bool:
        """Write over just what was read: with `If-Match` and its ETag."""

        def read(**at: str) -> tuple[bytes, str]:
            found = self._client.get_object(**at)  # type: ignore[arg-type]
            return found["Body"].read(), found["ETag"]

        def once() -> bool | None:
            body, tag = self._ask("reading", key, read, none_if=_missing) or (None, None)
            if (made := change(body)) is None:
                return False
            condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
            given = {"Body": made, **condition, **self._encryption}
            put = self._client.put_object
            return self._ask("updating", key, put, none_if=_overtaken, again=_undecided, **given) is not None or None

        return updated(once, f"{self._uri}/{key}")

    def size(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""
        found = self._ask("looking for", key, self._client.head_object, none_if=_missing)
        return int(found["ContentLength"]) if found else None

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """List all objects whose key begins with `prefix` and sorts after `after`."""
        start = self._root + after if after else ""
        while True:
            page = self._retry(
                f"listing {self._uri}/{prefix}",
                lambda start=start: self._client.list_objects_v2(  # type: ignore[misc]
                    Bucket=self._bucket, Prefix=self._key(prefix.rstrip("/")) + "/", StartAfter=start
                ),
            )
            for item in page.get("Contents", ()):
                start = item["Key"]
                yield Stored(start.removeprefix(self._root), item["Size"], item["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, a thousand in one request."""
        for first in range(0, len(keys), DELETE_BATCH):
            batch = keys[first : first + DELETE_BATCH]
            answer = self._retry(
                f"deleting from {self._uri}",
                lambda batch=batch: self._client.delete_objects(  # type: ignore[misc]
                    Bucket=self._bucket, Delete={"Objects": [{"Key": self._key(k)} for k in batch], "Quiet": True}
                ),
            )
            for error in answer.get("Errors", ()):
                why = ": ".join(filter(None, (error.get("Code"), error.get("Message"))))
                raise refused(
                    error.get("Code", ""), f"{self._uri} does not delete {clean(error.get('Key', ''))}: {why}"
                )

    def begin(self, key: str) -> str:
        """Begin a multipart upload."""
        begin, kind = self._quick.create_multipart_upload, "application/vnd.apache.parquet"
        return str(self._ask("beginning the upload of", key, begin, ContentType=kind, **self._encryption)["UploadId"])

    def upload(self, key: str, upload_id: str, piece: Piece) -> str:
        """Upload one part; returns its ETag."""
        given: Any = {"UploadId": upload_id, "PartNumber": piece.number, "Body": piece.body}
        return str(self._ask("uploading", key, self._quick.upload_part, **given)["ETag"])

    def complete(self, key: str, upload_id: str, pieces: Sequence[str]) -> bool:
        """Make an upload visible."""
        parts = {"Parts": [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(pieces, 1)]}
        given: Any = {"UploadId": upload_id, "MultipartUpload": parts}
        complete = self._quick.complete_multipart_upload
        return self._ask("completing the upload of", key, complete, none_if=_gone, **given) is not None

    def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload."""
        abort = self._client.abort_multipart_upload
        self._ask("dropping the upload of", key, abort, none_if=_gone, UploadId=upload_id)

    def has_sums(self, key: str) -> bool:
        """Whether ETags are MD5s: not of what is encrypted with keys of KMS or of a customer (AWS, `API_Object`)."""
        found = self._ask("looking for", key, self._client.head_object, none_if=_missing) or {}
        return found.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in found

    def can_be(self, upload_id: str, key: str, staging: str) -> bool:
        """Whether it can be an id at all: the store itself knows to which key an upload belongs."""
        return bool(_UPLOAD_ID.fullmatch(upload_id))

    def dangling(self, below: str = DATA) -> Iterator[Dangling]:
        """List all uploads whose key begins with `below` that are neither completed nor aborted."""
        key, upload = "", ""
        while True:
            page = self._retry(
                f"listing the uploads of {self._uri}",
                lambda key=key, upload=upload: self._client.list_multipart_uploads(  # type: ignore[misc]
                    Bucket=self._bucket, Prefix=self._root + below, KeyMarker=key, UploadIdMarker=upload
                ),
            )
            for item in page.get("Uploads", ()):
                yield Dangling(item["Key"].removeprefix(self._root), item["UploadId"], item["Initiated"].timestamp())
            if not page.get("IsTruncated"):
                return
            key, upload = page.get("NextKeyMarker", ""), page.get("NextUploadIdMarker", "")

    def check_key(self, key: str) -> None:
        """Refuse a key that S3 cannot hold."""
        length = len((self._root + key).encode())
        if length > MAX_KEY_BYTES:
            raise JobError(
                Failure.OUTPUT_LIMIT,
                f"an S3 key has at most {MAX_KEY_BYTES} bytes, but the path of a partition needs {length}: "
                f"{key[:120]!r}...; partition by a column with shorter values (they are percent-encoded)",
            )

    def check_free(self, key: str) -> None:
        """Do nothing: what has a key is an object, and nothing stands on the way to it."""

    def _key(self, key: str) -> str:
        return self._root + checked(key)

    def _ask(
        self,
        doing: str,
        key: str,
        method: Callable[..., Any],
        *,
        none_if: Callable[[ClientError], bool] = lambda _: False,
        again: Callable[[Exception], bool] = is_transient,
        **given: Any,
    ) -> Any:
        """Call a method of the client for one object; None if the answer is an error that means just that."""

        def call() -> Any:
            try:
                return method(Bucket=self._bucket, Key=self._key(key), **given)
            except ClientError as exc:
                if none_if(exc):
                    return None
                raise

        return self._retry(f"{doing} {self._uri}/{key}", call, again)

    def _retry(self, what: str, call: Callable[[], T], again: Callable[[Exception], bool] = is_transient) -> T:
        try:
            return patience.until(call, seconds=self._patience, again=again, stop=self._stop)
        except patience.StoppedError as exc:
            raise JobError(Failure.STORAGE_UNAVAILABLE, f"{what}: stopped while the store was away") from exc
        except (ClientError, BotoCoreError, OSError) as exc:
            raise self._explain(exc, what) from exc

    def _explain(self, exc: Exception, what: str) -> JobError:
        if isinstance(exc, ClientError) and error_code(exc) == "NoSuchBucket":
            return JobError(
                Failure.BUCKET_NOT_FOUND, f"{what}: bucket {self._bucket!r} does not exist: create it, or correct "
                "the output's uri or storage.endpoint",
            )  # fmt: skip
        return classify(exc, what)


def _client(access: StoreAccess, hurried: bool, shared: Session | None) -> S3Client:
    try:
        return client.s3_client(access, hurried=hurried, shared=shared)
    except (BotoCoreError, ValueError) as exc:
        raise classify(exc, "making an S3 client", default=Failure.INVALID_PLAN) from exc


def _encryption(access: StoreAccess) -> dict[str, Any]:
    """Return what a request says that makes an object; its parts inherit it."""
    if access.sse_kms_key_id is None:
        return {}
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": access.sse_kms_key_id}


def _missing(exc: ClientError) -> bool:
    return error_code(exc) in ("NoSuchKey", "404")


def _exists(exc: ClientError) -> bool:
    return status(exc) == 412


def _overtaken(exc: ClientError) -> bool:
    if status(exc) == 501:
        raise JobError(
            Failure.UNSAFE_STORE, "the store knows no If-Match: use one that does (AWS S3, SeaweedFS, MinIO)"
        ) from exc
    return status(exc) == 412 or _missing(exc)


def _undecided(exc: Exception) -> bool:
    # 409: another conditional write of this key is under way, and only its end decides.
    return is_transient(exc) or status(exc) == 409


def _gone(exc: ClientError) -> bool:
    # InvalidPart: some servers answer this, not NoSuchUpload, while another caller completes the same upload.
    return error_code(exc) in ("NoSuchUpload", "InvalidPart", "404")
