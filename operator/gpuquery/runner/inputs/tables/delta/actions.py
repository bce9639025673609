"""The state of a table at one version: its protocol, its metadata and its files, from the actions of its log.

"Action Reconciliation" in the protocol says how: the newest protocol and metadata count, and a file (its path together
with its deletion vector) is there if it was added and not removed since.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import polars as pl

from gpuquery.api.text import clean
from gpuquery.runner.failures.errors import first_paragraph
from gpuquery.runner.inputs.tables.delta.place import LOG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gpuquery.runner.inputs.tables.delta.log import Segment
    from gpuquery.runner.inputs.tables.delta.place import Folder

SIDECARS = f"{LOG}_sidecars/"
_KINDS = ("protocol", "metaData", "add", "remove", "sidecar", "txn")
_FIELDS = {
    "add": ("path", "partitionValues", "size", "deletionVector", "stats"),
    "remove": ("path", "deletionVector"),
    "sidecar": ("path",),
    "txn": ("appId", "version"),
}
"""Fields of actions that are read from checkpoints, which have one column for each kind of action."""
_NEEDED = {
    "protocol": "minReaderVersion", "metaData": "schemaString", "add": "path", "remove": "path", "sidecar": "path",
    "txn": "appId",
}  # fmt: skip
"""A field that every such action has."""
_BATCH = 64
"""Files of the log that are in memory at the same time."""


@dataclass(frozen=True, slots=True)
class Vector:
    """Where the deletion vector of a file is."""

    storage: str
    """`u`: a file of the table; `p`: a file with an absolute path; `i`: in the log itself."""
    where: str
    offset: int | None
    bytes: int
    rows: int
    """How many rows it removes."""


@dataclass(frozen=True, slots=True)
class Added:
    """A file of the table."""

    path: str
    """As in the log: relative or absolute, percent-encoded."""
    bytes: int | None
    values: Mapping[str, str | None]
    """Texts of its partition values, by the physical names of their columns."""
    vector: Vector | None
    statistics: str | None
    """JSON, as the log has it."""


@dataclass
class Snapshot:
    """A table at one version."""

    version: int
    protocol: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    files: dict[tuple[str, str], Added] = field(default_factory=dict)
    """By decoded path and the id of the deletion vector."""
    transactions: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Application transactions by their ids: the version, and the file of the log that has it."""

    @property
    def configuration(self) -> Mapping[str, str]:
        """Properties of the table."""
        return self.metadata.get("configuration") or {}


def replayed(table: Folder, segment: Segment) -> Snapshot:
    """Read the files of a version and apply their actions. Raises JobError that names a file that cannot be read."""
    state = Snapshot(segment.version)
    for key, actions in _read(table, segment.checkpoint):
        sidecars = [found for kind, action in actions if (found := _apply(table, state, key, kind, action))]
        # A sidecar is always in this folder; some writers name it with its folder or its whole URI.
        for name, more in _read(table, [SIDECARS + unquote(one).rpartition("/")[2] for one in sidecars]):
            for kind, action in more:
                _apply(table, state, name, kind, action)
    for key, actions in _read(table, segment.commits):
        for kind, action in actions:
            _apply(table, state, key, kind, action)
    _complete(table, state)
    return state


def followed(table: Folder, state: Snapshot, key: str, body: bytes) -> None:
    """Apply the commit of the next version, which was read as `key`. Raises JobError."""
    for kind, action in _json(table, key, body):
        _apply(table, state, key, kind, action)
    state.version += 1


def _complete(table: Folder, state: Snapshot) -> None:
    missing = [kind for kind, found in (("protocol", state.protocol), ("metaData", state.metadata)) if not found]
    if missing:
        raise table.refused(
            f"its log has no {' and no '.join(missing)} action up to version {state.version}, so it cannot be read: "
            "restore the log"
        )


def _read(table: Folder, keys: Sequence[str]) -> Iterator[tuple[str, Sequence[tuple[str, Any]]]]:
    """Read files of the log, several at a time; yields them in order."""
    for first in range(0, len(keys), _BATCH):
        batch = keys[first : first + _BATCH]
        for key, body in zip(batch, table.store.parallel(table.store.get, batch), strict=True):
            if body is None:
                raise table.refused(f"{table.root}/{key} is missing: it was removed while the log was read; try again")
            yield key, _parquet(table, key, body) if key.endswith(".parquet") else _json(table, key, body)


def _json(table: Folder, key: str, body: bytes) -> list[tuple[str, Any]]:
    try:  # all lines at once, which takes half as long
        lines = [line for line in body.split(b"\n") if line.strip()]
        actions = json.loads(b"[" + b",".join(lines) + b"]")
        if len(actions) == len(lines):
            return [(kind, one[kind]) for one in actions for kind in _KINDS if one.get(kind) is not None]
    except (ValueError, AttributeError, RecursionError):
        pass  # which line it is
    found = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            action = json.loads(line)
            found += [(kind, action[kind]) for kind in _KINDS if action.get(kind) is not None]
        except (ValueError, AttributeError, RecursionError) as exc:
            raise table.refused(
                f"line {number} of {table.root}/{key} is not the JSON of an action ({first_paragraph(exc)}): restore "
                "the file"
            ) from None
    return found


def applied(table: Folder, state: Snapshot, key: str, body: bytes) -> None:
    """Apply a classic checkpoint, which was read as `key`. Raises JobError."""
    for kind, action in _parquet(table, key, body):
        _apply(table, state, key, kind, action)


def rows(body: bytes, kinds: Iterable[str], fields: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Any]]:
    """Yield the actions of a checkpoint, kind by kind, with the fields that are named for the kind, or with all."""
    schema = pl.read_parquet_schema(io.BytesIO(body))
    there = [kind for kind in kinds if kind in schema]
    frame = pl.read_parquet(io.BytesIO(body), columns=there)
    for kind in there:
        column = frame.get_column(kind)
        wanted = [one for one in fields.get(kind, ()) if one in dict(column.struct.schema)]
        # Some writers have a null for what a row is not, others an action without values.
        found = frame.lazy().select(kind).filter(pl.col(kind).struct.field(_NEEDED[kind]).is_not_null())
        if wanted:
            found = found.select(pl.struct(pl.col(kind).struct.field(one) for one in wanted).alias(kind))
        yield from ((kind, action) for action in found.collect().get_column(kind).to_list())


def _parquet(table: Folder, key: str, body: bytes) -> list[tuple[str, Any]]:
    try:
        return list(rows(body, _KINDS, _FIELDS))
    except (pl.exceptions.PolarsError, OSError, AttributeError, ValueError) as exc:
        raise table.refused(
            f"the checkpoint {table.root}/{key} cannot be read ({first_paragraph(exc)}): restore it, or remove it if "
            "all commits before it are there"
        ) from None


def _apply(table: Folder, state: Snapshot, key: str, kind: str, action: Any) -> str | None:
    """Apply an action; returns the path of a sidecar."""
    try:
        match kind:
            case "protocol":
                state.protocol = action
            case "metaData":
                state.metadata = action | {"configuration": _mapping(action.get("configuration"))}
            case "sidecar":
                return str(action["path"])
            case "txn":
                state.transactions[str(action["appId"])] = (int(action["version"]), key)
            case _:
                vector = _vector(action.get("deletionVector"))
                known = (unquote(action["path"]), _id(vector))
                if kind == "remove":
                    state.files.pop(known, None)
                else:
                    size = action.get("size")
                    state.files[known] = Added(
                        action["path"],
                        None if size is None else int(size),
                        _mapping(action.get("partitionValues")),
                        vector,
                        action.get("stats"),
                    )
    except (KeyError, TypeError, ValueError, AttributeError):
        shown = clean(json.dumps(action, default=str), 200)
        raise table.refused(
            f"{table.root}/{key} has the action {kind}: {shown}, which is not what the protocol says of it: restore "
            "the file"
        ) from None
    return None


def _vector(found: Any) -> Vector | None:
    if found is None or found.get("storageType") is None:
        return None
    offset = found.get("offset")
    return Vector(
        found["storageType"],
        found["pathOrInlineDv"],
        None if offset is None else int(offset),
        int(found["sizeInBytes"]),
        int(found["cardinality"]),
    )


def _id(vector: Vector | None) -> str:
    if vector is None:
        return ""
    return f"{vector.storage}{vector.where}" + ("" if vector.offset is None else f"@{vector.offset}")


def _mapping(found: Any) -> dict[str, Any]:
    """A map, which a checkpoint has as a list of its entries."""
    if isinstance(found, list):
        return {entry["key"]: entry["value"] for entry in found}
    return dict(found or {})
