"""Delta tables written by hand, by the words of the protocol: https://github.com/delta-io/delta/blob/master/PROTOCOL.md

What deltalake writes is plain; deletion vectors, column mapping, checkpoints of all kinds and old files are made here.
"""

from __future__ import annotations

import json
import struct
import uuid
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

ID = "5fba94ed-9794-4965-ba6e-6ee3c0d22af9"
Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def field(name: str, kind: Any, **metadata: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "nullable": True, "metadata": metadata}


def mapped(name: str, kind: Any, physical: str, number: int) -> dict[str, Any]:
    """A column of a table with column mapping."""
    known = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": physical}
    return {"name": name, "type": kind, "nullable": True, "metadata": known}


def struct_of(*fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "struct", "fields": list(fields)}


def list_of(kind: Any) -> dict[str, Any]:
    return {"type": "array", "elementType": kind, "containsNull": True}


def map_of(key: Any, value: Any) -> dict[str, Any]:
    return {"type": "map", "keyType": key, "valueType": value, "valueContainsNull": True}


def protocol(*features: str, reader: int | None = None) -> dict[str, Any]:
    if features:
        return {
            "protocol": {
                "minReaderVersion": reader or 3, "minWriterVersion": 7, "readerFeatures": list(features),
                "writerFeatures": list(features),
            }
        }  # fmt: skip
    return {"protocol": {"minReaderVersion": reader or 1, "minWriterVersion": 2}}


def metadata(fields: Sequence[Any], keys: Sequence[str] = (), id: str = ID, **configuration: str) -> dict[str, Any]:
    return {
        "metaData": {
            "id": id, "format": {"provider": "parquet", "options": {}}, "partitionColumns": list(keys),
            "schemaString": json.dumps(struct_of(*fields)), "configuration": configuration, "createdTime": 0,
        }
    }  # fmt: skip


def add(path: Path, name: str, rows: pa.Table | None, values: Mapping[str, str | None] = {}, **more: Any) -> Any:
    """Write a file of a table, and return the action that adds it."""
    file = path / name
    if rows is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, file, **more.pop("writer", {}))
    action = {
        "path": quote(name), "partitionValues": dict(values), "size": file.stat().st_size, "modificationTime": 0,
        "dataChange": True,
    }  # fmt: skip
    return {"add": action | more}


def remove(name: str, vector: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = {"path": quote(name), "dataChange": True, "deletionTimestamp": 0}
    return {"remove": found | ({"deletionVector": vector} if vector else {})}


def commit(path: Path, version: int, *actions: Any) -> Path:
    log = path / "_delta_log"
    log.mkdir(parents=True, exist_ok=True)
    file = log / f"{version:020d}.json"
    file.write_text("".join(json.dumps(action) + "\n" for action in actions))
    return file


def checkpoint(file: Path, actions: Sequence[Any]) -> Path:
    """Write actions as parquet: a column for each kind of action."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text, long, number, flag = pa.string(), pa.int64(), pa.int32(), pa.bool_()
    texts = pa.map_(text, text)
    vector = pa.struct(
        {"storageType": text, "pathOrInlineDv": text, "offset": number, "sizeInBytes": number, "cardinality": long}
    )
    kinds = {
        "protocol": pa.struct(
            {
                "minReaderVersion": number, "minWriterVersion": number, "readerFeatures": pa.list_(text),
                "writerFeatures": pa.list_(text),
            }
        ),
        "metaData": pa.struct(
            {"id": text, "schemaString": text, "partitionColumns": pa.list_(text), "configuration": texts}
        ),
        "add": pa.struct(
            {
                "path": text, "partitionValues": texts, "size": long, "modificationTime": long, "dataChange": flag,
                "stats": text, "deletionVector": vector,
            }
        ),
        "remove": pa.struct({"path": text, "deletionTimestamp": long, "dataChange": flag, "deletionVector": vector}),
        "sidecar": pa.struct({"path": text, "sizeInBytes": long, "modificationTime": long}),
        "txn": pa.struct({"appId": text, "version": long}),
    }  # fmt: skip
    columns = {}
    for kind, type_ in kinds.items():
        if any(kind in action for action in actions):
            given = [_entries(action.get(kind)) for action in actions]
            columns[kind] = pa.array(given, type_)
    pq.write_table(pa.table(columns), file)
    return file


def _entries(action: Any) -> Any:
    if action is None:
        return None
    return {
        k: list(v.items()) if isinstance(v, dict) and k in ("partitionValues", "configuration") else v
        for k, v in action.items()
    }


def z85(data: bytes) -> str:
    data += bytes(-len(data) % 4)
    out = ""
    for at in range(0, len(data), 4):
        number = struct.unpack_from(">I", data, at)[0]
        chars = ""
        for _ in range(5):
            number, digit = divmod(number, 85)
            chars = Z85[digit] + chars
        out += chars
    return out


def roaring(positions: Iterable[int], how: str = "array") -> bytes:
    """A set of positions as the protocol stores it; `how` are the containers: array, bitmap or run."""
    buckets: dict[int, dict[int, list[int]]] = {}
    for one in sorted(set(positions)):
        buckets.setdefault(one >> 32, {}).setdefault(one >> 16 & 0xFFFF, []).append(one & 0xFFFF)
    out = struct.pack("<IQ", 1681511377, len(buckets))
    for high, containers in buckets.items():
        bodies = [_container(values, how) for values in containers.values()]
        heads = b"".join(struct.pack("<HH", key, len(values) - 1) for key, values in containers.items())
        count = len(bodies)
        out += struct.pack("<I", high)
        if how == "run":
            flags = bytes(sum(1 << bit for bit in range(8) if 8 * at + bit < count) for at in range((count + 7) // 8))
            out += struct.pack("<I", 12347 | (count - 1) << 16) + flags + heads
        else:
            out += struct.pack("<II", 12346, count) + heads
        if how != "run" or count >= 4:
            out += bytes(4 * count)  # offsets, which nobody has to believe
        out += b"".join(bodies)
    return out


def _container(values: list[int], how: str) -> bytes:
    if how == "run":
        runs: list[list[int]] = []
        for one in values:
            if runs and runs[-1][0] + runs[-1][1] + 1 == one:
                runs[-1][1] += 1
            else:
                runs.append([one, 0])
        return struct.pack("<H", len(runs)) + b"".join(struct.pack("<HH", *run) for run in runs)
    if len(values) > 4096:
        bits = bytearray(8192)
        for one in values:
            bits[one // 8] |= 1 << one % 8
        return bytes(bits)
    return struct.pack(f"<{len(values)}H", *values)


def inline(positions: Sequence[int], how: str = "array") -> dict[str, Any]:
    body = roaring(positions, how)
    return {"storageType": "i", "pathOrInlineDv": z85(body), "sizeInBytes": len(body), "cardinality": len(positions)}


def in_file(path: Path, vectors: Sequence[Sequence[int]], prefix: str = "", how: str = "array") -> list[dict[str, Any]]:
    """Write one file with several deletion vectors; returns how the log names each."""
    name = uuid.uuid4()
    body, found = b"\x01", []
    for positions in vectors:
        data = roaring(positions, how)
        found.append(
            {
                "storageType": "u", "pathOrInlineDv": prefix + z85(name.bytes), "offset": len(body),
                "sizeInBytes": len(data), "cardinality": len(positions),
            }
        )  # fmt: skip
        body += struct.pack(">I", len(data)) + data + struct.pack(">I", zlib.crc32(data))
    folder = path / prefix if prefix else path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"deletion_vector_{name}.bin").write_bytes(body)
    return found
