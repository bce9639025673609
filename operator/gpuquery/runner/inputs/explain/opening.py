"""Errors while an input is resolved: no schema of it is known yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.failures.words import said
from gpuquery.runner.inputs import faults, listing
from gpuquery.runner.inputs.base import File, Reading
from gpuquery.runner.inputs.explain import clashes, lookup, text

Resolver = Callable[[Input, Sequence[File], StoreAccess], Reading]
"""Makes a reading of files of one format."""

NO_FILE = frozenset(
    {
        Failure.STORAGE_AUTH, Failure.STORAGE_UNAVAILABLE, Failure.INVALID_ENDPOINT, Failure.UNSAFE_STORE,
        Failure.HOST_OUT_OF_MEMORY, Failure.SCRATCH_FULL,
    }
)  # fmt: skip
"""What no file is to blame for."""
_NOTHING = ("expanded paths were empty", "expected at least 1 source", "no such file or directory", "not found")


def explained(exc: BaseException, item: Input, store: StoreAccess, resolver: Resolver) -> JobError:
    """Name the input, the files and the columns behind an error that Polars raised while it opened `item`."""
    words = first_paragraph(exc)
    fault = classify(exc, f'reading input "{item.name}" ({item.shown})')
    if fault.failure in NO_FILE:
        return fault
    if fault.failure is Failure.BUCKET_NOT_FOUND or any(word in words.lower() for word in _NOTHING):
        return faults.missing(item, store)
    files = _files(item, store)
    if message := clashes.told(said(exc), item, files, store, resolver):
        return _invalid(message)
    if found := lookup.broken(lookup.Task((item,), store, decode=False)).broken:
        return _invalid(text.of_broken(found))
    return _invalid(text.bounded(f'input "{item.name}" ({item.shown}) cannot be read: {words}'))


def _files(item: Input, store: StoreAccess) -> Sequence[File]:
    try:
        return listing.listed(item, store).files
    except BaseException:  # a panic of Polars is no Exception; the error at hand says more
        return ()


def _invalid(message: str) -> JobError:
    return JobError(Failure.INVALID_INPUT, message)
