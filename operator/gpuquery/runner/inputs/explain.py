"""From errors of Polars to names that the author knows.

Polars answers clashing files with one column and no file. The author wrote an input with a name and a URI, so every
error names both, and files that do not fit together are looked up one by one (only then: the good case costs no further
request).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.failures.stores import classify, redact
from gpuquery.runner.failures.words import said
from gpuquery.runner.inputs import faults, listing
from gpuquery.runner.inputs.base import File, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

Resolver = Callable[[Input, Sequence[File], StoreAccess], Reading]
"""Makes a reading of files of one format."""

MAX_COMPARED = 1000
"""Files whose schemas are compared to find the two that clash."""
MAX_COLUMNS_SHOWN = 20
_NOTHING = ("expanded paths were empty", "expected at least 1 source", "no such file or directory", "not found")
_CLASHES = (
    "extra column in file outside of expected schema", "data type mismatch for column", "did not find column",
    "schema names differ", "schema lengths differ", "cannot parse",
)  # fmt: skip
_NO_STORE = frozenset(
    {Failure.STORAGE_AUTH, Failure.STORAGE_UNAVAILABLE, Failure.INVALID_ENDPOINT, Failure.UNSAFE_STORE}
)


def explained(exc: BaseException, item: Input, store: StoreAccess, resolver: Resolver) -> JobError:
    """Name the input, the files and the columns behind an error that Polars raised while it opened `item`."""
    text = first_paragraph(exc)
    fault = classify(exc, f'reading input "{item.name}" ({item.shown})')
    if fault.failure in _NO_STORE:
        return fault
    if found := clash(exc, (item,), store, lambda _: resolver):
        return found
    if root := faults.table_root(item, store):
        message = (
            f'input "{item.name}": {item.shown} is the root of a table; its rows are under {root}/data/: read those'
        )
    elif fault.failure is Failure.BUCKET_NOT_FOUND or any(word in text.lower() for word in _NOTHING):
        return faults.missing(item, store)
    else:
        message = f'input "{item.name}" ({item.shown}) cannot be read: {redact(text)}'
    return JobError(Failure.INVALID_INPUT, message)


def clash(
    exc: BaseException, inputs: Sequence[Input], store: StoreAccess, resolver: Callable[[Input], Resolver]
) -> JobError | None:
    """Return the error that names two files of different schemas, if they are behind what Polars raised."""
    low = said(exc).lower()
    if any(word in low for word in _CLASHES):
        for item in inputs:
            if message := _first_clash(item, store, resolver(item)):
                return JobError(Failure.INVALID_INPUT, message)
    return None


def _first_clash(item: Input, store: StoreAccess, resolver: Resolver) -> str | None:
    """Name the first two files whose schemas differ, and the columns in which they do."""
    with contextlib.suppress(Exception):
        found = listing.listed(item, store).files[:MAX_COMPARED]
        first = resolver(item, found[:1], store).schema
        for file in found[1:]:
            other = resolver(item, (file,), store).schema
            if differences := _differences(first, other):
                return (
                    f'input "{item.name}": the files do not have the same columns: {found[0].uri} and {file.uri} '
                    f"differ in {differences}; read them as two inputs"
                )
    return None


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    parts = []
    for column in [*a, *(c for c in b if c not in a)]:
        if a.get(column) != b.get(column):
            parts.append(f'"{column}" ({a.get(column, "absent")} and {b.get(column, "absent")})')
    more = f" and {len(parts) - MAX_COLUMNS_SHOWN} more" if len(parts) > MAX_COLUMNS_SHOWN else ""
    return ", ".join(parts[:MAX_COLUMNS_SHOWN]) + more
