"""The files of a snapshot, from its manifests: data files, and for each the deletes that apply to it.

https://iceberg.apache.org/spec/#scan-planning. pyiceberg's own plan knows neither equality deletes nor where in a file
a deletion vector lies, so the manifests are read here, with its Avro reader, and only the fields that are needed.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables.iceberg import files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpuquery.plan.plan import StoreAccess

DATA, POSITIONS, EQUALITY = 0, 1, 2
_ADDED, _DELETED = 1, 2
_PATH_ID = 2147483546
_NAN = float("nan")
_WANTED = (
    "content", "file_path", "file_format", "partition", "record_count", "file_size_in_bytes", "key_metadata",
    "equality_ids", "referenced_data_file", "content_offset", "content_size_in_bytes",
)  # fmt: skip
"""Fields of a data file in a manifest; of deletes also the bounds, which tell the data file that they are about."""
Partition = tuple[int, tuple[Any, ...]]
"""Number of the partition spec, and the values."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A live file of a snapshot."""

    content: int
    location: str
    format: str
    partition: Partition
    rows: int
    bytes: int
    sequence: int
    encrypted: bool = False
    equality_ids: tuple[int, ...] = ()
    referenced: str | None = None
    """The one data file whose rows it deletes, if it says so."""
    offset: int | None = None
    """Where in its file a deletion vector begins."""
    length: int | None = None


@dataclass
class Planned:
    """The files of a snapshot."""

    data: list[Entry] = field(default_factory=list)
    positions: list[Entry] = field(default_factory=list)
    equality: list[Entry] = field(default_factory=list)


class _Bytes:
    """What pyiceberg reads a file from: bytes that are here already."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def open(self, seekable: bool = True) -> io.BytesIO:
        """Open them."""
        return io.BytesIO(self._body)


def planned(manifest_list: str, access: StoreAccess) -> Planned:
    """Read all manifests of a snapshot. Raises JobError."""
    from pyiceberg.manifest import read_manifest_list

    body = files.whole(manifest_list, access)
    manifests = {m.manifest_path: m for m in readable(manifest_list, lambda: list(read_manifest_list(_Bytes(body))))}  # type: ignore[arg-type]
    for one in manifests.values():
        if one.key_metadata is not None:
            raise JobError(Failure.INVALID_INPUT, f"{one.manifest_path} is encrypted: encrypted tables are not read")
    parts = [(path, 0, one.manifest_length) for path, one in manifests.items()]
    read = files.each(parts, access, lambda path, raw: readable(path, lambda: _entries(raw, manifests[path])))
    out = Planned()
    for path in manifests:
        for entry in read[path]:
            (out.data, out.positions, out.equality)[entry.content].append(entry)
    for entry in (*out.data, *out.positions, *out.equality):
        if entry.encrypted:
            raise JobError(Failure.INVALID_INPUT, f"{entry.location} is encrypted: encrypted tables are not read")
    return out


def readable(location: str, read: Callable[[], Any]) -> Any:
    """Read a file of metadata; raises JobError that names it, whatever is wrong with it."""
    try:
        return read()
    except JobError:
        raise
    except Exception as exc:
        raise JobError(
            Failure.INVALID_INPUT, f"{location} is no metadata of Iceberg that can be read: {type(exc).__name__}: {exc}"
        ) from exc


def _entries(raw: bytes, manifest: Any) -> list[Entry]:
    from pyiceberg.avro.file import AvroFile
    from pyiceberg.avro.resolver import ReadSchemaResolver
    from pyiceberg.manifest import DATA_FILE_TYPE, MANIFEST_ENTRY_SCHEMAS
    from pyiceberg.schema import Schema, visit_with_partner
    from pyiceberg.typedef import Record
    from pyiceberg.types import NestedField, StructType

    deletes = manifest.content == 1
    wanted = (*_WANTED, "lower_bounds", "upper_bounds") if deletes else _WANTED
    fields = {f.name: f for f in DATA_FILE_TYPE[3].fields}
    inside = StructType(*(fields[name] for name in wanted))
    schema = Schema(
        *(
            NestedField(2, "data_file", inside, required=True) if f.field_id == 2 else f
            for f in MANIFEST_ENTRY_SCHEMAS[3].fields
            if f.name in ("status", "sequence_number", "data_file")
        )
    )
    at = {f.name: number for number, f in enumerate(schema.fields)}
    out: list[Entry] = []
    with AvroFile[Record](_Bytes(raw)) as reader:  # type: ignore[arg-type]
        resolver = ReadSchemaResolver({-1: Record, 2: Record})
        reader.reader = visit_with_partner(reader.schema, schema, resolver, _partners())  # type: ignore[assignment]
        for record in reader:
            status = record[at["status"]]
            if status == _DELETED:
                continue
            sequence = record[at["sequence_number"]]
            if sequence is None:  # it is inherited
                sequence = manifest.sequence_number if status == _ADDED or manifest.sequence_number == 0 else 0
            out.append(_entry(record[at["data_file"]], sequence or 0, manifest.partition_spec_id))
    return out


def _partners() -> Any:
    """Return what leaves out lists and maps that are not wanted; pyiceberg's own refuses that."""
    from pyiceberg.avro.resolver import SchemaPartnerAccessor

    class Partners(SchemaPartnerAccessor):
        def field_partner(self, partner: Any, field_id: int, field_name: str) -> Any:
            return None if partner is None else super().field_partner(partner, field_id, field_name)

        def list_element_partner(self, partner_list: Any) -> Any:
            return None if partner_list is None else super().list_element_partner(partner_list)

        def map_key_partner(self, partner_map: Any) -> Any:
            return None if partner_map is None else super().map_key_partner(partner_map)

        def map_value_partner(self, partner_map: Any) -> Any:
            return None if partner_map is None else super().map_value_partner(partner_map)

    return Partners()


def _entry(found: Any, sequence: int, spec_id: int) -> Entry:
    (content, location, form, partition, rows, size, key, ids, referenced, offset, length) = (
        found[n] for n in range(11)
    )
    content = int(content or 0)
    if content == POSITIONS and referenced is None and len(found) > 11:
        low, high = ((found[n] or {}).get(_PATH_ID) for n in (11, 12))
        # Bounds may be cut; equal ones may be, too, but then no data file has this name and each is looked at.
        referenced = low.decode() if low and low == high else None
    values = tuple(_same(partition[n]) for n in range(len(partition)))
    return Entry(
        content, location, str(form).upper(), (spec_id, values), rows, size, sequence, key is not None,
        tuple(ids or ()), referenced, offset, length,
    )  # fmt: skip


def _same(value: Any) -> Any:
    """NaN is unlike itself unless it is the same object."""
    return _NAN if value != value else value  # noqa: PLR0124


class Index:
    """Deletes by what they apply to."""

    def __init__(self, deletes: Sequence[Entry], data: Mapping[str, Entry]) -> None:
        self._by_path: dict[str, list[Entry]] = defaultdict(list)
        self._by_partition: dict[Partition, list[Entry]] = defaultdict(list)
        for one in sorted(deletes, key=lambda e: e.sequence):
            if one.referenced is not None and (one.referenced in data or one.format == "PUFFIN"):
                self._by_path[one.referenced].append(one)
            else:
                self._by_partition[one.partition].append(one)

    def of(self, data: Entry) -> list[Entry]:
        """Positional deletes and vectors that may be about a data file: its own vector, or all others."""
        found = [
            one for one in (*_since(self._by_path.get(data.location, []), data.sequence),
                            *_since(self._by_partition.get(data.partition, []), data.sequence))
            if one.partition == data.partition
        ]  # fmt: skip
        vectors = [one for one in found if one.format == "PUFFIN"]
        return vectors or found


def _since(deletes: list[Entry], sequence: int) -> list[Entry]:
    return deletes[bisect_left(deletes, sequence, key=lambda e: e.sequence) :]
