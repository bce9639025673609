"""What an exception of a store, of Polars or of the operating system means for the job.

One fault shows up under many types (Polars alone wraps the same 403 as OSError, ComputeError or PermissionError), so
texts are looked at as a last resort, and only texts that speak about a store at all. The exceptions of a store's own
client are explained by that store.
"""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING, Protocol

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import redact
from gpuquery.runner.failures.words import said

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["Explainer", "classify", "redact", "with_way_out"]


class Explainer(Protocol):
    """What one kind of store knows about its faults."""

    codes: Mapping[Failure, Sequence[str]] = {}
    """Codes of the store, by what they mean in the text of another client's error."""

    def failure_of(self, exc: BaseException) -> Failure | None:
        """Return the class of an exception of the store's client; None for any other exception."""
        return None

    def text_of(self, exc: BaseException) -> str | None:
        """Return what an exception says, where its own text would mislead; None for any other."""
        return None


EXPLAINERS: Collection[Explainer] = ()
"""All kinds of stores; set by their registry."""

_STORE_TEXT = re.compile(r"object-store error|Error performing|Generic \w+ error|S3 error|amazonaws|HTTP error", re.I)
_TEXTS: Mapping[Failure, re.Pattern[str]] = {
    Failure.STORAGE_AUTH: re.compile(
        r"\b403\b|\b401\b|lacked the necessary privileges|lacked valid authentication|NoCredentials"
        r"|Unable to locate credentials"
    ),
    Failure.BUCKET_NOT_FOUND: re.compile(r"(?!)"),
    Failure.INVALID_ENDPOINT: re.compile(r"(?!)"),
    Failure.INVALID_INPUT: re.compile(r"\b404\b|not found|expanded paths were empty", re.I),
    Failure.STORAGE_UNAVAILABLE: re.compile(
        r"after \d+ retries|\b50[0-4]\b|error sending request|timed? ?out|connection (refused|reset|closed)", re.I
    ),
}
"""Texts of object_store, the library in which Polars and obstore reach every store; the first that is found counts."""
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
_QUERY_ERRORS = (pl.exceptions.SQLInterfaceError, pl.exceptions.SQLSyntaxError)
_WAYS_OUT = {
    Failure.STORAGE_AUTH: "check the credentials (storage.secretName or storage.serviceAccountName) and their rights",
    Failure.STORAGE_UNAVAILABLE: "check storage.endpoint and that the store is up",
    Failure.INVALID_ENDPOINT: "correct storage.endpoint or storage.region, or name a ConfigMap with the authority of "
    "its certificate in storage.caConfigMapName",
}


def classify(exc: BaseException, what: str = "", *, default: Failure = Failure.INTERNAL_ERROR) -> JobError:
    """Give an exception its failure class and a message without secrets.

    `what` says what was being done, e.g. "writing s3://lake/out". `default` is the class of an exception that is no
    fault of a store: while a user's query runs, that is the user's error.
    """
    if isinstance(exc, JobError):
        return exc
    own = (text for explainer in EXPLAINERS if (text := explainer.text_of(exc)) is not None)
    text = redact(next(own, None) or said(exc))
    return with_way_out(_class_of(exc) or default, f"{what}: {text}" if what else text)


def with_way_out(failure: Failure, message: str) -> JobError:
    """Return the failure with what its class lets a user do about it."""
    way_out = _WAYS_OUT.get(failure)
    return JobError(failure, f"{message}; {way_out}" if way_out else message)


def _class_of(exc: BaseException) -> Failure | None:
    if isinstance(exc, MemoryError):
        return Failure.HOST_OUT_OF_MEMORY
    for explainer in EXPLAINERS:
        if (failure := explainer.failure_of(exc)) is not None:
            return failure
    if isinstance(exc, (ConnectionError, TimeoutError)):
        return Failure.STORAGE_UNAVAILABLE
    if isinstance(exc, _QUERY_ERRORS):
        return Failure.INVALID_QUERY
    if isinstance(exc, (OSError, pl.exceptions.PolarsError)):
        return _class_of_text(said(exc)) or _class_of_os_error(exc)
    return None


def _class_of_text(text: str) -> Failure | None:
    if _STORE_TEXT.search(text):
        for failure, pattern in _TEXTS.items():
            codes = (code for explainer in EXPLAINERS for code in explainer.codes.get(failure, ()))
            if pattern.search(text) or any(code in text for code in codes):
                return failure
    return Failure.INVALID_INPUT if "expanded paths were empty" in text else None


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
