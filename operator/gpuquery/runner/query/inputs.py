"""Inputs: from the object's URIs to Polars' lazy frames, and from Polars' errors to names that the author knows.

Polars answers an empty glob with its own path expansion, and clashing files with one column and no file. The author
wrote an input with a name and a URI, so every error names both, and files that do not fit together are looked up one
by one (only then: the good case costs no further request).
"""

from __future__ import annotations

import contextlib
import difflib
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import CsvOptions, Input, InputFormat
from gpuquery.runner import later, stores
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.failures.stores import classify, redact
from gpuquery.runner.failures.words import said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess

THREADS = 8
MAX_COMPARED = 1000
"""Files whose schemas are compared to find the two that clash."""
MAX_COLUMNS_SHOWN = 20
MAX_NAMES_SHOWN = 5
_NOTHING = ("expanded paths were empty", "expected at least 1 source", "no such file or directory", "not found")
_CLASHES = (
    "extra column in file outside of expected schema", "data type mismatch for column", "did not find column",
    "schema names differ", "schema lengths differ", "cannot parse",
)  # fmt: skip
_NO_STORE = frozenset(
    {Failure.STORAGE_AUTH, Failure.STORAGE_UNAVAILABLE, Failure.INVALID_ENDPOINT, Failure.UNSAFE_STORE}
)


def open_all(inputs: Sequence[Input], store: StoreAccess) -> dict[str, pl.LazyFrame]:
    """Open every input and read its schema (footers or first lines); raises JobError that names the first bad one."""

    def opened(item: Input) -> pl.LazyFrame:
        frame = scan(item, item.uri, store)
        try:
            frame.collect_schema()
        except JobError:
            raise
        except BaseException as exc:  # a panic of Polars is no Exception
            raise explained(exc, item, store) from None
        return frame

    # Each waits for a store, and has nothing to do with the others.
    return dict(zip((item.name for item in inputs), later.each(opened, inputs, THREADS), strict=True))


def scan(item: Input, source: str, store: StoreAccess, *, file_column: str | None = None) -> pl.LazyFrame:
    """Return the lazy frame of one input, or of one of its files; reads nothing yet.

    `file_column` adds a column with the path of each row's file, to parquet only.
    """
    options = stores.scan_options(store, item.uri)
    source = stores.of(source).source(source)
    match item.format:
        case InputFormat.CSV:
            _no_hive(item)
            csv = item.csv or CsvOptions()
            return pl.scan_csv(
                source,
                has_header=csv.header,
                separator=csv.separator,
                null_values=list(csv.null_values) or None,
                try_parse_dates=True,
                storage_options=options,
            )
        case InputFormat.NDJSON:
            _no_hive(item)
            return pl.scan_ndjson(source, storage_options=options)
        case _:
            return pl.scan_parquet(
                source,
                hive_partitioning=bool(item.hive_partitioned),
                include_file_paths=file_column,
                storage_options=options,
            )


def explained(exc: BaseException, item: Input, store: StoreAccess) -> JobError:
    """Name the input, the files and the columns behind an error that Polars raised while it opened `item`."""
    text = first_paragraph(exc)
    fault = classify(exc, f'reading input "{item.name}" ({item.uri})')
    if fault.failure in _NO_STORE:
        return fault
    if found := clash(exc, (item,), store):
        return found
    if root := _table_root(item, store):
        message = f'input "{item.name}": {item.uri} is the root of a table; its rows are under {root}/data/: read those'
    elif fault.failure is Failure.BUCKET_NOT_FOUND or any(word in text.lower() for word in _NOTHING):
        return _missing(item, store)
    else:
        message = f'input "{item.name}" ({item.uri}) cannot be read: {redact(text)}'
    return JobError(Failure.INVALID_INPUT, message)


def clash(exc: BaseException, inputs: Sequence[Input], store: StoreAccess) -> JobError | None:
    """Return the error that names two files of different schemas, if they are behind what Polars raised."""
    low = said(exc).lower()
    if any(word in low for word in _CLASHES):
        for item in inputs:
            if message := _first_clash(item, store):
                return JobError(Failure.INVALID_INPUT, message)
    return None


def files(item: Input, store: StoreAccess) -> list[str]:
    """List the files of an input as Polars expands them; empty if there are none or it cannot be told.

    The expansion is seen in Polars' plan of a scan whose schema is given, so nothing is read. That view is private to
    Polars, so everything here can do without.
    """
    with contextlib.suppress(Exception):
        options = stores.scan_options(store, item.uri)
        frame = pl.scan_ndjson(item.uri, schema={"x": pl.String}, storage_options=options)
        # Polars lists the store here and keeps what it found: the view would list it with Python's lock held, and stop
        # every other thread for as long as the store takes.
        frame.collect_schema()
        node = frame._ldf.visit().view_current_node()
        return [str(path) for path in getattr(node, "paths", [])]
    return []


def _no_hive(item: Input) -> None:
    if item.hive_partitioned:
        raise JobError(
            Failure.INVALID_INPUT,
            f'input "{item.name}": key=value folders become columns with parquet only, not with {item.format.value}: '
            "set hivePartitioned: false",
        )


def _missing(item: Input, store: StoreAccess) -> JobError:
    """Explain why nothing was found at an input's URI, with what is there instead."""
    place = stores.locate(item.uri)
    before_star = place.prefix.split("*", maxsplit=1)[0]
    folder = before_star.rpartition("/")[0] + "/" if "/" in before_star else ""
    try:
        names = stores.of(item.uri).names(place, folder, store)
    except JobError as exc:
        return JobError(exc.failure, f'input "{item.name}": {item.uri}: {exc.message}')
    at = place.folder(folder)
    close = difflib.get_close_matches(place.prefix.removeprefix(folder).partition("/")[0], names, MAX_NAMES_SHOWN)
    shown = ", ".join((close + [name for name in names if name not in close])[:MAX_NAMES_SHOWN])
    more = ", ..." if len(names) > MAX_NAMES_SHOWN else ""
    found = f"in {at} there is {shown}{more}" if names else f"there is nothing in {at}"
    return JobError(Failure.INVALID_INPUT, f'input "{item.name}": no file matches {item.uri}; {found}')


def _table_root(item: Input, store: StoreAccess) -> str:
    """The folder of the input if a table's log lies in it, else nothing."""
    folder = item.uri.split("*")[0].rpartition("/")[0] if "*" in item.uri else item.uri.rstrip("/")
    with contextlib.suppress(JobError):
        log = stores.locate(f"{folder}/_commits")
        if any(name.endswith(".json") for name in stores.of(folder).names(log, f"{log.prefix}/", store)):
            return folder
    return ""


def _first_clash(item: Input, store: StoreAccess) -> str | None:
    """Name the first two files whose schemas differ, and the columns in which they do."""
    found = files(item, store)
    read: Callable[[str], pl.Schema] = lambda path: scan(item, path, store).collect_schema()  # noqa: E731
    with contextlib.suppress(Exception):
        first = read(found[0])
        for path in found[1:MAX_COMPARED]:
            other = read(path)
            if differences := _differences(first, other):
                return (
                    f'input "{item.name}": the files do not have the same columns: {found[0]} and {path} differ in '
                    f"{differences}; read them as two inputs"
                )
    return None


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    parts = []
    for column in [*a, *(c for c in b if c not in a)]:
        if a.get(column) != b.get(column):
            parts.append(f'"{column}" ({a.get(column, "absent")} and {b.get(column, "absent")})')
    more = f" and {len(parts) - MAX_COLUMNS_SHOWN} more" if len(parts) > MAX_COLUMNS_SHOWN else ""
    return ", ".join(parts[:MAX_COLUMNS_SHOWN]) + more
