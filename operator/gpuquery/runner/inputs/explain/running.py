"""Errors of readers while the query runs: which input, which file, and where in it?"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.failures.readers import Origin, origin
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.failures.words import said
from gpuquery.runner.inputs import changes
from gpuquery.runner.inputs.explain import clashes, lookup, text
from gpuquery.runner.stores import vended

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File, Resolved
    from gpuquery.runner.inputs.explain.opening import Resolver

_POLARS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
_OF_ENGINES = (*_POLARS, OSError, RuntimeError, ValueError)
"""What Polars, obstore and cudf raise for files."""
_OPEN = frozenset({Failure.USER_ERROR, Failure.INVALID_INPUT, Failure.INTERNAL_ERROR})
"""Classes of errors that nobody has explained yet."""


def located(exc: BaseException, resolved: Mapping[str, Resolved], access: StoreAccess) -> JobError | None:
    """Return the error that names the value behind what was raised, where a reading knows it; else None."""
    if isinstance(exc, _OF_ENGINES):
        for name, one in resolved.items():
            if found := one.reading.located(one.item, one.files, access, exc):
                message = found if found.startswith("input ") else f'input "{name}": {found}'
                return JobError(Failure.INVALID_INPUT, text.bounded(message))
    return None


def blamed(
    exc: BaseException,
    resolved: Mapping[str, Resolved],
    access: StoreAccess,
    resolver: Callable[[Input], Resolver | None],
    columns: Mapping[str, Sequence[str]] | None = None,
) -> JobError | None:
    """Return the error that names the input and the file behind what was raised while the query ran.

    None if no file is behind it. `columns` are those that the query reads, by input.
    """
    of = origin(exc)
    known = _POLARS if of is Origin.UNKNOWN else _OF_ENGINES
    if not resolved or of is Origin.QUERY or not isinstance(exc, known):
        return None
    fault = classify(exc)
    if fault.failure not in _OPEN:
        return _of_store(fault, exc, resolved)
    with contextlib.suppress(JobError):  # what the store says now is not what the query failed with
        if message := changes.changed(resolved, access):
            return JobError(Failure.INPUT_CHANGED, text.bounded(message))
    for one in resolved.values():
        compare = resolver(one.item)
        if compare and (message := clashes.told(said(exc), one.item, one.files, access, compare)):
            return _invalid(message)
    seconds = lookup.SECONDS if of is Origin.FILE else lookup.UNSURE_SECONDS
    items = _ordered(exc, resolved)
    looked = lookup.broken(lookup.Task(items, access, resolved, columns, seconds=seconds))
    if looked.broken:
        return _invalid(text.of_broken([one for one in looked.broken if one.input == looked.broken[0].input]))
    return _invalid(_unfound(exc, resolved, looked)) if of is Origin.FILE else None


def _ordered(exc: BaseException, resolved: Mapping[str, Resolved]) -> list[Input]:
    """The inputs, those first of which a file is named by the error."""
    named = [name for name, one in resolved.items() if _named(exc, one)]
    return [resolved[name].item for name in [*named, *(name for name in resolved if name not in named)]]


def _named(exc: BaseException, one: Resolved) -> File | None:
    """The file of an input that the error itself names."""
    words = said(exc)
    return next((file for file in one.files if _key(file.uri) in words), None)


def _key(uri: str) -> str:
    """A place without scheme and bucket, as object stores name it in their errors."""
    return re.sub(r"^[a-z0-9+.-]+://[^/]*/", "", uri) if "://" in uri else uri


def _of_store(fault: JobError, exc: BaseException, resolved: Mapping[str, Resolved]) -> JobError | None:
    """The store's fault with the file, where it names one of the inputs; else it may be one of the output."""
    for name, one in resolved.items():
        if file := _named(exc, one):
            why = vended.remark(file.uri) if fault.failure is Failure.STORAGE_AUTH else ""
            return JobError(fault.failure, f'input "{name}": reading {text.short(file.uri)}: {fault.message}{why}')
    return None


def _unfound(exc: BaseException, resolved: Mapping[str, Resolved], looked: lookup.Looked) -> str:
    """Say honestly that no file fails by itself."""
    total = sum(len(one.files) for one in resolved.values())
    names = ", ".join(f'"{name}"' for name in list(resolved)[: text.MAX_FILES])
    many = "inputs" if len(resolved) > 1 else "input"
    words = text.bounded(first_paragraph(exc), 300)
    told = f"a reader of the {many} {names} failed: {words}"
    if looked.over:
        return f"{told}; each of the {total:,} files can be read by itself"
    return f"{told}; which of the {total:,} files is to blame was not found: {looked.files:,} of them can be read"


def _invalid(message: str) -> JobError:
    return JobError(Failure.INVALID_INPUT, message)
