"""What the exceptions and codes of S3 mean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from botocore import exceptions as boto

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import redact
from gpuquery.runner.failures.stores import with_way_out
from gpuquery.runner.failures.words import said

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CODES: Mapping[Failure, Sequence[str]] = {
    Failure.STORAGE_AUTH: (
        "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "ExpiredToken", "InvalidToken",
        "AuthorizationHeaderMalformed", "AuthorizationQueryParametersError", "InvalidAccessKey", "InvalidSecurity",
        "TokenRefreshRequired",
    ),
    Failure.BUCKET_NOT_FOUND: ("NoSuchBucket",),
    # The words are object_store's for an answer with a redirect to another region.
    Failure.INVALID_ENDPOINT: ("PermanentRedirect", "incorrectly configured region"),
    Failure.INVALID_INPUT: ("NoSuchKey",),
    Failure.STORAGE_UNAVAILABLE: ("SlowDown",),
}  # fmt: skip
"""What a code means in the text of a client that tells nothing else."""
_TRANSIENT_CODES = {
    "SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "InternalError", "ServiceUnavailable",
    "RequestLimitExceeded", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "OperationAborted",
}  # fmt: skip
_OUTAGES = (
    boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError, boto.ResponseStreamingError,
)  # fmt: skip
_NO_CREDENTIALS = (
    boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError, boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError, boto.ProfileNotFound,
)  # fmt: skip
_NO_HEADER = re.compile(r"Invalid header value|InvalidHeader|invalid HTTP header|failed to parse header value", re.I)
"""The credentials hold what no header may: a line break at the end, most often."""
_NEVER_TLS = re.compile(r"CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER")


def error_code(exc: boto.ClientError) -> str:
    """Code of an S3 error: `NoSuchUpload`; for answers without a body, the HTTP status."""
    return str(exc.response.get("Error", {}).get("Code", ""))


def status(exc: BaseException) -> int:
    """HTTP status of an answer of S3; 0 for any other exception."""
    response = exc.response if isinstance(exc, boto.ClientError) else {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_transient(exc: BaseException) -> bool:
    """Whether the same request may well succeed a little later."""
    if isinstance(exc, boto.ClientError):
        return status(exc) >= 500 or status(exc) == 429 or error_code(exc) in _TRANSIENT_CODES
    if isinstance(exc, boto.SSLError):
        return False
    return isinstance(exc, (ConnectionError, TimeoutError)) or failure_of(exc) is Failure.STORAGE_UNAVAILABLE


def failure_of(exc: BaseException) -> Failure | None:
    """Return the class of an exception of botocore; None for any other."""
    if isinstance(exc, _NO_CREDENTIALS):
        return Failure.STORAGE_AUTH
    if isinstance(exc, boto.HTTPClientError) and _NO_HEADER.search(said(exc)):
        return Failure.STORAGE_AUTH
    if isinstance(exc, boto.SSLError) and _NEVER_TLS.search(said(exc)):
        return Failure.INVALID_ENDPOINT
    if isinstance(exc, _OUTAGES):
        return Failure.STORAGE_UNAVAILABLE
    if not isinstance(exc, boto.ClientError):
        return None
    if status(exc) in (401, 403) or _is_denial(error_code(exc)):
        return Failure.STORAGE_AUTH
    if error_code(exc) == "NoSuchBucket":
        return Failure.BUCKET_NOT_FOUND
    return Failure.STORAGE_UNAVAILABLE if is_transient(exc) or status(exc) == 404 else Failure.INTERNAL_ERROR


def text_of(exc: BaseException) -> str | None:
    """Return what S3 has answered: boto3's own text counts retries, which are ours."""
    if not isinstance(exc, boto.ClientError):
        return None
    return f"{error_code(exc)}: {exc.response.get('Error', {}).get('Message', '')}".rstrip(": ")


def refused(code: str, message: str) -> JobError:
    """Return the failure for a store that refuses one object of a request which it took as a whole.

    An answer that is neither about rights nor about an outage will be the same next time.
    """
    if _is_denial(code):
        return with_way_out(Failure.STORAGE_AUTH, redact(message))
    if code in _TRANSIENT_CODES:
        return with_way_out(Failure.STORAGE_UNAVAILABLE, redact(message))
    way_out = "the commit protocol needs a store that deletes what it has taken"
    return JobError(Failure.UNSAFE_STORE, f"{redact(message)}; {way_out}")


def _is_denial(code: str) -> bool:
    return code in ("401", "403") or any(one in code for one in CODES[Failure.STORAGE_AUTH])
