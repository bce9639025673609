"""Failures of stores: what an exception of a store, of Polars or of the operating system means for the job.

One failure comes as many types (Polars alone wraps the same 403 as OSError, ComputeError or PermissionError), so texts
decide in the end, and only those that speak about a store at all.
"""

from __future__ import annotations

import errno
import re

import polars as pl
from botocore import exceptions as boto

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import redact
from gpuquery.runner.failures.words import said

__all__ = ["classify", "is_transient", "redact"]

_OUTAGES = (
    boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError, boto.ResponseStreamingError,
    ConnectionError, TimeoutError,
)  # fmt: skip
_NO_CREDENTIALS = (
    boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError, boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError, boto.ProfileNotFound,
)  # fmt: skip
_TRANSIENT_CODES = {
    "SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "InternalError", "ServiceUnavailable",
    "RequestLimitExceeded", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "OperationAborted",
}  # fmt: skip
_STORE_TEXT = re.compile(r"object-store error|Error performing|Generic \w+ error|S3 error|amazonaws|HTTP error", re.I)
_AUTH_TEXT = re.compile(
    r"\b403\b|\b401\b|lacked the necessary privileges|lacked valid authentication|InvalidAccessKeyId"
    r"|SignatureDoesNotMatch|AccessDenied|ExpiredToken|NoCredentials|Unable to locate credentials|InvalidToken"
    r"|AuthorizationHeaderMalformed|AuthorizationQueryParametersError|InvalidAccessKey|InvalidSecurity|TokenRefreshRequired",
)
_NO_HEADER = re.compile(r"Invalid header value|InvalidHeader|invalid HTTP header|failed to parse header value", re.I)
"""The credentials hold what no header may: a line break at the end, most often."""
_NEVER_TLS = re.compile(r"CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER")
_NOTHING_MATCHES = "expanded paths were empty"
_TEXTS = (
    (_AUTH_TEXT, Failure.STORAGE_AUTH),
    (re.compile(r"NoSuchBucket"), Failure.BUCKET_NOT_FOUND),
    (re.compile(rf"\b404\b|not found|NoSuchKey|{_NOTHING_MATCHES}", re.I), Failure.INVALID_INPUT),
    (
        re.compile(
            r"after \d+ retries|\b50[0-4]\b|SlowDown|error sending request|timed? ?out"
            r"|connection (refused|reset|closed)", re.I,
        ),
        Failure.STORAGE_UNAVAILABLE,
    ),
)  # fmt: skip
"""What a text means that speaks about a store (`_STORE_TEXT`); the first that is found counts."""
_OS_FAILURES = {
    errno.EACCES: Failure.STORAGE_AUTH,
    errno.EPERM: Failure.STORAGE_AUTH,
    errno.EROFS: Failure.STORAGE_AUTH,
    errno.ENOSPC: Failure.SCRATCH_FULL,
    errno.EDQUOT: Failure.SCRATCH_FULL,
    errno.ENAMETOOLONG: Failure.OUTPUT_LIMIT,
    errno.ENOENT: Failure.INVALID_INPUT,
    errno.EIO: Failure.STORAGE_UNAVAILABLE,
    errno.ESTALE: Failure.STORAGE_UNAVAILABLE,
}
_TYPES = (
    (MemoryError, None, Failure.HOST_OUT_OF_MEMORY),
    (_NO_CREDENTIALS, None, Failure.STORAGE_AUTH),
    (boto.HTTPClientError, _NO_HEADER, Failure.STORAGE_AUTH),
    (boto.SSLError, _NEVER_TLS, Failure.INVALID_ENDPOINT),
    (_OUTAGES, None, Failure.STORAGE_UNAVAILABLE),
    ((pl.exceptions.SQLInterfaceError, pl.exceptions.SQLSyntaxError), None, Failure.INVALID_QUERY),
)
"""What an exception of a type means, if its text has the pattern; the first that fits counts."""
_WAYS_OUT = {
    Failure.STORAGE_AUTH: "check the credentials (storage.secretName or storage.serviceAccountName) and their rights",
    Failure.STORAGE_UNAVAILABLE: "check storage.endpoint and that the store is up",
    Failure.INVALID_ENDPOINT: "correct storage.endpoint, or have the image trust its certificate",
}


def is_transient(exc: BaseException) -> bool:
    """Whether the same request may well succeed a little later."""
    if isinstance(exc, _OUTAGES):
        return not isinstance(exc, boto.SSLError) and _class_of(exc) is Failure.STORAGE_UNAVAILABLE
    if isinstance(exc, boto.ClientError):
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status == 429 or error_code(exc) in _TRANSIENT_CODES
    return False


def error_code(exc: boto.ClientError) -> str:
    """Code of an S3 error: `NoSuchUpload`; for answers without a body, the HTTP status."""
    return str(exc.response.get("Error", {}).get("Code", ""))


def refused(code: str, told: str) -> JobError:
    """Return the failure for a store that refuses one object of a request which it took as a whole.

    An answer that is neither about rights nor about an outage will be the same next time.
    """
    if _AUTH_TEXT.search(code):
        failure, way_out = Failure.STORAGE_AUTH, _WAYS_OUT[Failure.STORAGE_AUTH]
    elif code in _TRANSIENT_CODES:
        failure, way_out = Failure.STORAGE_UNAVAILABLE, _WAYS_OUT[Failure.STORAGE_UNAVAILABLE]
    else:
        failure, way_out = Failure.UNSAFE_STORE, "the commit protocol needs a store that deletes what it has taken"
    return JobError(failure, f"{redact(told)}; {way_out}")


def classify(exc: BaseException, what: str = "", *, default: Failure = Failure.INTERNAL_ERROR) -> JobError:
    """Give an exception its failure class and a message without secrets.

    `what` says what was being done, e.g. "writing s3://lake/out". `default` is the class of an exception that is no
    fault of a store: while a user's query runs, that is the user's error.
    """
    if isinstance(exc, JobError):
        return exc
    failure = _class_of(exc) or default
    text = redact(_text_of(exc))
    message = f"{what}: {text}" if what else text
    if way_out := _WAYS_OUT.get(failure):
        message = f"{message}; {way_out}"
    return JobError(failure, message)


def _text_of(exc: BaseException) -> str:
    if isinstance(exc, boto.ClientError):  # boto3's own text counts retries, which are ours
        return f"{error_code(exc)}: {exc.response.get('Error', {}).get('Message', '')}".rstrip(": ")
    return said(exc)


def _class_of(exc: BaseException) -> Failure | None:
    for types, pattern, failure in _TYPES:
        if isinstance(exc, types) and (pattern is None or pattern.search(said(exc))):
            return failure
    if isinstance(exc, boto.ClientError):
        return _class_of_answer(exc)
    if isinstance(exc, (OSError, pl.exceptions.PolarsError)):
        return _class_of_text(said(exc)) or _class_of_os_error(exc)
    return None


def _class_of_answer(exc: boto.ClientError) -> Failure:
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status in (401, 403) or _AUTH_TEXT.search(error_code(exc)):
        return Failure.STORAGE_AUTH
    if error_code(exc) == "NoSuchBucket":
        return Failure.BUCKET_NOT_FOUND
    if is_transient(exc) or status == 404:
        return Failure.STORAGE_UNAVAILABLE
    return Failure.INTERNAL_ERROR


def _class_of_text(text: str) -> Failure | None:
    if _STORE_TEXT.search(text) and (found := next((kind for known, kind in _TEXTS if known.search(text)), None)):
        return found
    return Failure.INVALID_INPUT if _NOTHING_MATCHES in text else None


def _class_of_os_error(exc: BaseException) -> Failure | None:
    if isinstance(exc, FileNotFoundError):
        return Failure.INVALID_INPUT
    if isinstance(exc, PermissionError):
        return Failure.STORAGE_AUTH
    if isinstance(exc, OSError) and exc.errno is not None:
        return _OS_FAILURES.get(exc.errno)
    if isinstance(exc, pl.exceptions.PolarsError):
        return Failure.USER_ERROR
    return None
