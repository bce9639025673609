"""The deletion vectors of a version, read and checked against its log."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables.delta import vectors
from gpuquery.runner.inputs.tables.delta.reading import Deleted
from gpuquery.runner.stores.base import Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.runner.inputs.tables.delta.actions import Vector
    from gpuquery.runner.inputs.tables.delta.place import Table

_FRAME = 8
"""Bytes around a vector in a file: its size before it, its checksum behind it."""


def deleted(table: Table, owners: Mapping[str, Vector], rows: Mapping[str, int]) -> dict[str, Deleted]:
    """Return the deleted rows of files by their URIs; `rows` are the rows of the files.

    Raises JobError that names the file whose vector is gone or broken.
    """
    try:
        bodies = _bodies(table, owners)
    except JobError as exc:
        if exc.failure is not Failure.INVALID_INPUT or exc.message.startswith("input "):
            raise
        raise table.refused(
            f"a deletion vector is gone: {exc.message}: VACUUM removes what old versions need: read a newer version, "
            "or restore the file"
        ) from None
    return {uri: _checked(table, uri, vector, bodies[uri], rows[uri]) for uri, vector in owners.items()}


def _bodies(table: Table, owners: Mapping[str, Vector]) -> dict[str, bytes]:
    bodies: dict[str, bytes] = {}
    parts: dict[str, Part] = {}
    for uri, vector in owners.items():
        try:
            if vector.storage == "i":
                bodies[uri] = vectors.unpacked(vector.where)[: vector.bytes]
                continue
            begin = vector.offset or 0
            parts[uri] = Part(_place(table, vector), begin, begin + vector.bytes + _FRAME)
        except vectors.BrokenVectorError as exc:
            raise _broken(table, uri, str(exc)) from None
    found = stores.Everywhere(table.access).read(list(parts.values()), lambda _, body: body)
    for uri, body in zip(parts, found, strict=True):
        try:
            bodies[uri] = vectors.stored(body, owners[uri].bytes)
        except vectors.BrokenVectorError as exc:
            raise _broken(table, uri, f"in {parts[uri].path} {exc}") from None
    return bodies


def _place(table: Table, vector: Vector) -> str:
    match vector.storage:
        case "u":
            return f"{table.root}/{vectors.path(vector.where)}"
        case "p":
            return table.place_of(vector.where)
    raise vectors.BrokenVectorError(f'its storage type is "{vector.storage}", and only u, p and i are known')


def _checked(table: Table, uri: str, vector: Vector, body: bytes, rows: int) -> Deleted:
    try:
        positions = vectors.positions(body)
    except vectors.BrokenVectorError as exc:
        raise _broken(table, uri, str(exc)) from None
    if len(positions) != vector.rows:
        raise _broken(table, uri, f"it deletes {len(positions)} rows, and the log says {vector.rows}")
    if positions and positions[-1] >= rows:
        raise _broken(table, uri, f"it deletes row {positions[-1]} of a file of {rows} rows")
    return Deleted(rows, base64.b64encode(body).decode())


def _broken(table: Table, uri: str, why: str) -> JobError:
    return table.refused(
        f"the deletion vector of {uri} is broken ({why}), so which of its rows are deleted is not known: restore it, "
        "or read an older version"
    )
