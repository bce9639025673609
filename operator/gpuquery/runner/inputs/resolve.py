"""Resolve the inputs of a job: list their files or find their snapshot, then look at schemas, once.

resolved = resolve(plan.inputs, plan.store)     # index 0, or the only process
text = to_json(resolved)                        # to the other ranks
resolved = from_json(text, plan.inputs)
frames(resolved, plan.store)                    # the lazy frames, by name
"""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import InputFormat
from gpuquery.runner import later
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import explain, faults, keys, listing
from gpuquery.runner.inputs.base import Reading, Resolved, files_from_json
from gpuquery.runner.inputs.formats import csv, ndjson, parquet
from gpuquery.runner.inputs.tables import delta, iceberg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

THREADS = 8
NO_SNAPSHOTS: Mapping[str, str] = MappingProxyType({})
_FORMATS: dict[InputFormat, explain.Resolver] = {
    InputFormat.PARQUET: parquet.resolve,
    InputFormat.CSV: csv.resolve,
    InputFormat.NDJSON: ndjson.resolve,
}
_READINGS: dict[str, type[Reading]] = {
    one.kind: one for one in (parquet.Parquet, csv.Csv, ndjson.NdJson, iceberg.Iceberg, delta.Delta)
}


def resolve(
    items: Sequence[Input], access: StoreAccess, snapshots: Mapping[str, str] = NO_SNAPSHOTS
) -> dict[str, Resolved]:
    """Resolve inputs, several at a time. Raises JobError that names the first bad one.

    `snapshots` are those that tables were read at before, by name of the input: they are read again.
    """
    # Each waits for a store, and has nothing to do with the others.
    found = later.each(lambda item: _resolved(item, access, snapshots.get(item.name, "")), items, THREADS)
    return {item.name: one for item, one in zip(items, found, strict=True)}


def frames(resolved: Mapping[str, Resolved], access: StoreAccess) -> dict[str, pl.LazyFrame]:
    """Return the lazy frames of inputs by name; reads nothing."""
    return {name: one.frame(access) for name, one in resolved.items()}


def for_gpu(resolved: Mapping[str, Resolved]) -> dict[str, Resolved]:
    """Return inputs as GPU engines read them. Raises JobError(InvalidInput) that names each that none reads."""
    found = [(one, why) for one in resolved.values() if (why := one.reading.cpu_only or faults.lost_to_gpus(one.files))]
    if problems := [f'input "{one.item.name}" ({one.item.shown}): {why}' for one, why in found]:
        raise JobError(Failure.INVALID_INPUT, "\n".join(problems))
    return {name: replace(one, reading=one.reading.for_gpu()) for name, one in resolved.items()}


def places_of_tables(resolved: Mapping[str, Resolved]) -> dict[str, Sequence[str]]:
    """Return where the files of those inputs are that only a catalog knows, by name of the input."""
    return {name: [file.uri for file in one.files] for name, one in resolved.items() if one.item.table is not None}


def to_json(resolved: Mapping[str, Resolved]) -> str:
    """Write resolved inputs down for other ranks, and for later attempts."""
    return json.dumps({name: one.to_json() for name, one in resolved.items()}, separators=(",", ":"))


def from_json(text: str, items: Sequence[Input]) -> dict[str, Resolved]:
    """Read what `to_json` wrote; `items` are the inputs of the plan."""
    found: Mapping[str, Any] = json.loads(text)
    return {item.name: _of_json(item, found[item.name]) for item in items}


def located(exc: BaseException, resolved: Mapping[str, Resolved], access: StoreAccess) -> JobError | None:
    """Return the error that names the value in a file behind what was raised, where a reading knows it."""
    return explain.located(exc, resolved, access)


def blamed(
    exc: BaseException,
    resolved: Mapping[str, Resolved],
    access: StoreAccess,
    columns: Mapping[str, Sequence[str]] | None = None,
) -> JobError | None:
    """Return the error that names the file behind what a reader raised; None if it was none, or no file is to blame."""
    return explain.blamed(exc, resolved, access, lambda item: _FORMATS.get(item.format), columns)


def resolver(item: Input) -> explain.Resolver:
    """Return what makes a reading of some files of an input."""
    return _FORMATS[item.format]


def _resolved(item: Input, access: StoreAccess, pinned: str) -> Resolved:
    if item.table is not None:
        return iceberg.resolve(item, access, pinned)
    if item.delta is not None:
        return delta.resolve(item, access, pinned)
    try:
        listed = listing.listed(item, access)
        files, unread = keys.filled(item, listed.files)
        if item.format is not InputFormat.PARQUET and (item.hive_partitioned or any(file.keys for file in files)):
            raise faults.no_keys(item)
        reading = _FORMATS[item.format](item, files, access)
    except JobError as exc:
        if f'input "{item.name}"' in exc.message:
            raise
        if exc.failure is Failure.BUCKET_NOT_FOUND:
            raise faults.missing(item, access) from None
        raise JobError(exc.failure, f'input "{item.name}": {item.shown}: {exc.message}') from None
    except BaseException as exc:  # a panic of Polars is no Exception
        raise explain.explained(exc, item, access, _FORMATS[item.format]) from None
    return Resolved(item, files, reading, (*listed.warnings, *unread, *reading.warnings))


def _of_json(item: Input, value: Mapping[str, Any]) -> Resolved:
    return Resolved(
        item,
        files_from_json(value["files"]),
        _READINGS[value["kind"]].from_json(value["reading"]),
        tuple(value["warnings"]),
        value["snapshot"],
        value.get("facts"),
    )
