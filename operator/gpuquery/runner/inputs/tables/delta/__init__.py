"""Delta tables: one version is found, its files are looked at, and they are read as parquet.

resolved = delta.resolve(item, access)                      # item.delta says which version
resolved.snapshot                                           # "delta:<table id>@<version>"
delta.resolve(item, access, resolved.snapshot)              # the same version again

The log is read by ourselves, through the project's own stores: their credentials, retries and errors hold here too.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from gpuquery.api.spec import DeltaInput, SchemaEvolution
from gpuquery.api.text import clean
from gpuquery.runner import stores
from gpuquery.runner.inputs.base import File, Resolved
from gpuquery.runner.inputs.tables.delta import actions, features, keys, log, moments, place, schema, shapes, travel
from gpuquery.runner.inputs.tables.delta.deleted import deleted
from gpuquery.runner.inputs.tables.delta.fit import MisfitError, fitted, has_ids
from gpuquery.runner.inputs.tables.delta.reading import Delta, Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.tables.delta.actions import Added, Snapshot
    from gpuquery.runner.inputs.tables.delta.place import Table
    from gpuquery.runner.inputs.tables.delta.schema import Columns

__all__ = ["Delta", "resolve"]

_PINNED = re.compile(r"delta:(.*)@(\d+)")


def resolve(item: Input, access: StoreAccess, pinned: str = "") -> Resolved:
    """Find the version of a Delta table and look at its files. Raises JobError.

    `pinned` is the snapshot that an earlier attempt has read.
    """
    table = place.opened(item, access)
    snapshot = _snapshot(table, item.delta or DeltaInput(), pinned)
    features.check(table, snapshot)
    mode = features.mapping(snapshot)
    columns = schema.columns(table, snapshot, mode)
    added = _files(table, snapshot, columns)
    looked = shapes.look(table, snapshot.version, [file for file, _ in added])
    told: list[list[tuple[str, str | None]]] = [[] for _ in looked.kinds]
    for file, one in added:
        told[looked.kind_of[file.uri]].append((file.uri, one.statistics))
    found = tuple(_shape(table, kind, columns, mode, told[at]) for at, kind in enumerate(looked.kinds))
    reading = Delta(
        {column.name: column.type.dtype for column in columns.all},
        found,
        {uri: number for uri, number in looked.kind_of.items() if number},
        deleted(table, {file.uri: one.vector for file, one in added if one.vector is not None}, looked.rows),
        (*_warnings(table, columns, [file for file, _ in added]), *_evolved(table, looked, found)),
    )
    name = f"delta:{snapshot.metadata.get('id', '')}@{snapshot.version}"
    return Resolved(item, tuple(file for file, _ in added), reading, reading.warnings, name)


def _snapshot(table: Table, asked: DeltaInput, pinned: str) -> Snapshot:
    if match := _PINNED.fullmatch(pinned):
        snapshot = _version(table, int(match[2]))
        if (now := snapshot.metadata.get("id", "")) != match[1]:
            raise table.refused(
                f"an earlier attempt has read the table {match[1]}, and now the table {clean(str(now), 100)} is in its "
                "place: run the job anew"
            )
        return snapshot
    if asked.timestamp is not None:
        moment = travel.moment(table, asked.timestamp)
        found = log.listed(table, until=-1)
        newest = _replayed(table, found, found.newest)
        version = travel.version_at(table, found, moment, newest.configuration)
        return newest if version == newest.version else _replayed(table, found, version)
    return _version(table, asked.version)


def _version(table: Table, version: int | None) -> Snapshot:
    found = log.listed(table, until=version)
    if version is not None and version > found.newest:
        found = log.listed(table, until=-1)  # for the words of the refusal
    return _replayed(table, found, found.newest if version is None else version)


def _replayed(table: Table, found: log.Log, version: int) -> Snapshot:
    return actions.replayed(table, log.segment(table, found, version))


def _files(table: Table, snapshot: Snapshot, columns: Columns) -> list[tuple[File, Added]]:
    """The files of a version with their sizes and partition values, sorted by their places."""
    names = {column.physical: column for column in columns.all if column.physical in columns.keys}
    found: list[tuple[File, Added]] = []
    for one in snapshot.files.values():
        uri = table.place_of(one.path)
        values = []
        for physical, column in names.items():
            if physical not in one.values:
                raise table.refused(f'the log has no value of the partition column "{column.name}" for {uri}')
            text = one.values[physical]
            try:
                keys.value(text, column.type.dtype)
            except ValueError:
                raise table.refused(
                    f'the partition column "{column.name}" of {uri} has the value {clean(repr(text), 200)}, which is '
                    f"no {column.type.dtype}: write this partition anew"
                ) from None
            values.append((column.name, text or None))
        found.append((File(uri, one.bytes if one.bytes is not None else -1, keys=tuple(values)), one))
    found.sort(key=lambda pair: pair[0].uri)
    twice = [uri for uri, count in Counter(file.uri for file, _ in found).items() if count > 1]
    if twice:
        raise table.refused(f"version {snapshot.version} has the file {twice[0]} more than once: restore the log")
    unsized = [file.uri for file, _ in found if file.bytes < 0]
    sizes = stores.Everywhere(table.access).sizes(unsized)
    return [(file._replace(bytes=sizes.get(file.uri, file.bytes)), one) for file, one in found]


def _shape(
    table: Table, kind: shapes.Kind, columns: Columns, mode: str, statistics: Sequence[tuple[str, str | None]]
) -> Shape:
    if mode == "id" and not has_ids(kind.columns):
        raise table.refused(
            f"its columns are found by ids (delta.columnMapping.mode is id), and {kind.example} has none: write the "
            "file anew, with OPTIMIZE or REORG TABLE"
        )
    inside = [one for one in columns.all if one.physical not in columns.keys]
    try:
        made = [(one, fitted(one, kind.schema, kind.columns)) for one in inside]
    except MisfitError as exc:
        raise table.refused(f"{kind.example}: {exc}: write the file anew with the table's type") from None
    moments.check(table, made, statistics)
    fits = [(one.name, fit) for one, fit in made]
    if table.item.schema_evolution is SchemaEvolution.STRICT:
        for name, fit in fits:
            if fit.source is None or fit.how != "same":
                what = "lacks the column" if fit.source is None else "has another type than the table in the column"
                raise table.refused(
                    f'schemaEvolution is strict, and {kind.example} {what} "{name}": set schemaEvolution: lossless, or '
                    "write the file anew"
                )
    return Shape(kind.schema, tuple(fits))


def _evolved(table: Table, looked: shapes.Looked, found: Sequence[Shape]) -> list[str]:
    """What the files of a table that has grown lack."""
    counts = Counter(looked.kind_of.values())
    told: dict[str, tuple[int, str]] = {}
    for number, shape in enumerate(found):
        for name, fit in shape.fits:
            if fit.source is None:
                count, example = told.get(name, (0, looked.kinds[number].example))
                told[name] = (count + counts[number], example)
    total = len(looked.kind_of)
    return [
        f'input "{table.item.name}": {count} of {total} files, such as {example}, lack the column "{name}", which is '
        "null there"
        for name, (count, example) in told.items()
    ]


def _warnings(table: Table, columns: Columns, files: Sequence[File]) -> list[str]:
    found = [
        f'input "{table.item.name}": the column "{name}" has the type void, holds nothing and is left out'
        for name in columns.dropped
    ]
    zoned = [one.name for one in columns.all if one.physical in columns.keys and str(one.type.dtype).endswith("'UTC')")]
    for name in zoned:
        local = next((text for file in files if keys.is_local(text := dict(file.keys)[name])), None)
        if local:
            found.append(
                f'input "{table.item.name}": the partition column "{name}" has times without a time zone, such as '
                f"{local}; they are read as UTC"
            )
    return found
