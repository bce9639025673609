"""From the files of a snapshot to a reading: look at the footers, and put files that are read alike into one group.

Names and types in files are the file's own matter in Iceberg, so nothing but their footers says how they are read. They
also say how many rows a file has, which positions of deleted rows rest on.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.alike import alike
from gpuquery.runner.inputs.base import File, schema_to_text
from gpuquery.runner.inputs.tables.iceberg import deletes, files, mapping, types
from gpuquery.runner.inputs.tables.iceberg.manifests import Entry, Index, Partition, Planned
from gpuquery.runner.inputs.tables.iceberg.mapping import Names, UnmappableError
from gpuquery.runner.inputs.tables.iceberg.reading import KEY, Group, Iceberg, Keys
from gpuquery.runner.inputs.tables.iceberg.types import Field, UnreadableTypeError
from gpuquery.runner.parquet import elements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.parquet.elements import Element


MOST_NUMBERED = 1 << 31
"""Rows of the files of one scan with row numbers, which have 32 bits."""


@dataclass(frozen=True)
class Table:
    """What the table's metadata says of its files."""

    fields: tuple[Field, ...]
    """Columns that are read."""
    every: Mapping[int, Field]
    """Top-level columns of all schemas that it ever had, by id: equality deletes may name one that was dropped."""
    nested: frozenset[int]
    """Ids of fields inside others."""
    names: Names | None
    """The name mapping."""
    identity: Mapping[int, Mapping[int, int]]
    """By partition spec: the place among the partition's values of each column that is there as it is."""
    unpartitioned: frozenset[int]
    """Partition specs without fields."""


class _Shape(NamedTuple):
    """Files of one shape are read alike."""

    schema: bytes
    constants: str
    keys: tuple[int, ...]
    sequence: int
    partition: Partition | None
    deleted: bool
    root: str


class _Footers:
    """Rows and schemas of parquet files; a schema is looked at once."""

    def __init__(self, entries: Sequence[Entry], access: StoreAccess) -> None:
        at = {one.location: files.place(one.location) for one in entries}
        named = {place: location for location, place in at.items()}

        def broken(uri: str, _: bytes, exc: ValueError) -> JobError:
            return JobError(Failure.INVALID_INPUT, f"{named[uri]} is no parquet file: {exc}")

        sizes = {at[one.location]: one.bytes for one in entries}
        seen = alike([File(uri, size) for uri, size in sizes.items()], access, broken)
        self._trees: dict[bytes, tuple[Element, ...]] = {}
        for (begin, _), (uri, tail) in seen.firsts.items():
            try:
                # The struct ends where the schema does: what follows is not looked at.
                self._trees[begin] = elements.columns(begin[:-1] + b"\0")
            except ValueError as exc:
                raise broken(uri, tail, exc) from None
        self.rows: dict[str, int] = {location: seen.rows[place] for location, place in at.items()}
        self.schemas: dict[str, bytes] = {location: seen.marks[place][0] for location, place in at.items()}

    def tree(self, location: str) -> tuple[Element, ...]:
        """The file's columns."""
        return self._trees[self.schemas[location]]


def planned(table: Table, found: Planned, access: StoreAccess) -> tuple[tuple[File, ...], Iceberg]:
    """Return files in the order of their groups, and how they are read. Raises JobError."""
    schema = {one.name: types.dtype_of(one.type) for one in table.fields}
    for entry in (*found.data, *found.equality):
        if entry.format != "PARQUET":
            raise _broken(entry, f"is {entry.format}, and only parquet is read: rewrite the table's files as parquet")
    footers = _Footers((*found.data, *found.equality), access)
    for entry in found.data:
        if footers.rows[entry.location] != entry.rows:
            raise _broken(entry, f"has {footers.rows[entry.location]:,} rows, and the manifest says {entry.rows:,}")
    partitions: dict[Partition, int] = {}
    equality = _equality(table, found, footers, partitions)
    index = Index(found.positions, {one.location: one for one in found.data})
    applying = {one.location: hits for one in found.data if (hits := index.of(one))} if found.positions else {}
    gone = deletes.positions(applying, access) if applying else {}
    by_shape: dict[_Shape, list[Entry]] = defaultdict(list)
    for entry in found.data:
        by_shape[_shape(table, entry, footers, equality, entry.location in gone)].append(entry)
    groups, listed = [], list[File]()
    for shape, entries in by_shape.items():
        entries.sort(key=lambda one: one.location)
        for some in _numbered(entries) if shape.deleted else [entries]:
            group = _group(table, shape, some, footers, partitions)
            groups.append(_with_positions(group, some, gone) if shape.deleted else group)
            listed += [File(files.source(one.location), one.bytes) for one in some]
    return tuple(listed), Iceberg(schema, tuple(groups), tuple(equality))


def _shape(table: Table, entry: Entry, footers: _Footers, equality: Sequence[Keys], deleted: bool) -> _Shape:
    schema = footers.schemas[entry.location]
    constants = _constants(table, entry, footers)
    if not equality:
        return _Shape(schema, constants, (), 0, None, deleted, files.root(entry.location))
    ids = tuple(dict.fromkeys(i for keys in equality for i in keys.ids))
    partition = entry.partition if any(not keys.everywhere for keys in equality) else None
    return _Shape(schema, constants, ids, entry.sequence, partition, deleted, files.root(entry.location))


def _constants(table: Table, entry: Entry, footers: _Footers) -> str:
    """Values of identity partitions that the file does not hold, as JSON."""
    places = table.identity.get(entry.partition[0], {})
    if not places:
        return "{}"
    held = {node.id for node in _identified(table, entry, footers)}
    try:
        found = {
            i: types.constant(entry.partition[1][at], table.every[i].type)
            for i, at in places.items()
            if i not in held and i in table.every
        }
    except UnreadableTypeError as exc:
        raise _broken(entry, f"has a partition that cannot be read: {exc}") from None
    return json.dumps(found, sort_keys=True)


def _identified(table: Table, entry: Entry, footers: _Footers) -> tuple[Element, ...]:
    try:
        return mapping.identified(footers.tree(entry.location), table.names)
    except UnmappableError as exc:
        raise _broken(entry, str(exc)) from None


def _group(
    table: Table, shape: _Shape, entries: Sequence[Entry], footers: _Footers, partitions: dict[Partition, int]
) -> Group:
    first = entries[0]
    constants = {int(i): value for i, value in json.loads(shape.constants).items()}
    nodes = _identified(table, first, footers)
    try:
        made = mapping.recipes(table.fields, nodes, constants)
        keys = mapping.recipes([_optional(table.every[i]) for i in shape.keys], nodes, constants)
    except UnmappableError as exc:
        raise _broken(first, str(exc)) from None
    plain = mapping.is_plain(made, table.fields) and [n.name for n in nodes] == [f.name for f in table.fields]
    number = -1 if shape.partition is None else partitions.setdefault(shape.partition, len(partitions))
    pairs = list(zip(shape.keys, keys, strict=True))
    return Group(len(entries), None if plain else made, pairs, shape.sequence, number)


def _numbered(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Split files so that the rows of each part can be counted through in 32 bits."""
    parts: list[list[Entry]] = []
    total = MOST_NUMBERED
    for one in entries:
        if total + one.rows > MOST_NUMBERED:
            parts.append([])
            total = 0
        parts[-1].append(one)
        total += one.rows
    return parts


def _with_positions(group: Group, entries: Sequence[Entry], gone: Mapping[str, pl.Series]) -> Group:
    parts, before = [], 0
    for entry in entries:
        positions = gone[entry.location]
        low, high = positions[0], positions[-1]
        if low < 0 or high >= entry.rows:
            raise _broken(entry, f"has {entry.rows:,} rows, and a delete names position {high if low >= 0 else low}")
        parts.append(positions + before)
        before += entry.rows
    return Group(
        group.count, group.columns, group.keys, group.sequence, group.partition, deletes.pack(pl.concat(parts))
    )


def _equality(table: Table, found: Planned, footers: _Footers, partitions: dict[Partition, int]) -> list[Keys]:
    """Return the equality deletes by the columns that they compare, and by whether they apply everywhere."""
    oldest = min((one.sequence for one in found.data), default=0)
    by_keys: dict[tuple[tuple[int, ...], bool], list[Entry]] = defaultdict(list)
    for entry in found.equality:
        if entry.sequence > oldest:  # else all rows are younger
            by_keys[tuple(sorted(entry.equality_ids)), entry.partition[0] in table.unpartitioned].append(entry)
    out = []
    for (ids, everywhere), entries in by_keys.items():
        fields = [_key(table, entries[0], i) for i in ids]
        if not fields:
            raise _broken(entries[0], "is an equality delete that names no column")
        dtypes = {f"{KEY}{one.id}": types.dtype_of(one.type) for one in fields}
        listed = []
        for entry in entries:
            nodes = _identified(table, entry, footers)
            try:
                made = mapping.recipes([_optional(one) for one in fields], nodes, {})
            except UnmappableError as exc:
                raise _broken(entry, str(exc)) from None
            if any("v" in one for one in made):
                raise _broken(entry, "is an equality delete that lacks one of its columns")
            number = -1 if everywhere else partitions.setdefault(entry.partition, len(partitions))
            listed.append((files.source(entry.location), made, entry.sequence, number))
        out.append(Keys(list(ids), schema_to_text(dtypes), everywhere, listed))
    return out


def _key(table: Table, entry: Entry, number: int) -> Field:
    one = table.every.get(number)
    if one is None:
        where = "inside a struct, list or map" if number in table.nested else "that no known schema has"
        raise _broken(entry, f"is an equality delete by field {number}, {where}: compact the table")
    if not isinstance(one.type, str) or one.type in ("float", "double"):
        raise _broken(
            entry,
            f'is an equality delete by column "{one.name}" of type {one.type}, whose values are not compared: '
            "compact the table",
        )  # fmt: skip
    return one


def _optional(one: Field) -> Field:
    return Field(one.id, one.name, one.type, required=False, default=one.default)


def _broken(entry: Entry, what: str) -> JobError:
    return JobError(Failure.INVALID_INPUT, f"{entry.location} {what}")


def table_of(metadata: Any, schema: Any) -> Table:
    """Read what is needed of pyiceberg's metadata. Raises UnreadableTypeError that names the column."""
    fields = _fields(schema)
    for one in fields:
        try:
            types.dtype_of(one.type)
        except UnreadableTypeError as exc:
            raise UnreadableTypeError(f'column "{one.name}": {exc}') from None
    every: dict[int, Field] = {}
    nested: set[int] = set()
    for other in (*metadata.schemas, schema):
        for one in _fields(other):
            every[one.id] = one
            nested |= {inner.id for inner in types.walk(types.children(one.type))}
    text = metadata.properties.get("schema.name-mapping.default")
    specs = {spec.spec_id: spec for spec in metadata.partition_specs}
    return Table(
        fields,
        every,
        frozenset(nested),
        Names.of(json.loads(text)) if text else None,
        {
            number: {f.source_id: at for at, f in enumerate(spec.fields) if str(f.transform) == "identity"}
            for number, spec in specs.items()
        },
        frozenset(number for number, spec in specs.items() if not spec.fields),
    )


def _fields(schema: Any) -> tuple[Field, ...]:
    return types.fields_of(json.loads(schema.model_dump_json()))
