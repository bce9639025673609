"""Records: what the commit protocol writes down, as versioned JSON.

A record says everything that is needed to publish it without its author: which uploads to complete and which files to
delete. Readers of a newer format than they know must stop, so `format` is checked when a record is read.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from gpuquery.api.reasons import Failure
from gpuquery.api.schema import Lenient
from gpuquery.plan.plan import JobRef
from gpuquery.runner.errors import JobError

FENCE = "fence"
_OWNER = re.compile(r"[0-9a-f]{8}")
_PART = re.compile(r"(?:.*/)?part-(?P<owner>[0-9a-f]{8})-(?P<attempt>\d+)-\d+-\d+\.parquet")


class Column(Lenient):
    """A column of the table: name and Polars type."""

    name: str
    type: str


class StagedFile(Lenient):
    """A file whose bytes are in the store and which nobody can see yet."""

    path: str
    """Its path below data/."""
    upload_id: Annotated[str, Field(min_length=1)]
    """The upload to complete."""
    pieces: Annotated[tuple[str, ...], Field(min_length=1)]
    """What the store said of each piece, in order (S3: ETags)."""
    bytes: int
    """Its size."""
    rows: int
    """Rows in it, from its own footer."""
    values: Mapping[str, str | None] = {}
    """Partition column to value."""


class PendingSet(Lenient):
    """Everything that one rank of an attempt has uploaded."""

    format: Literal[1] = 1
    files: tuple[StagedFile, ...]


class CommitRecord(Lenient):
    """One version of the table. It is committed as soon as this record exists."""

    format: Literal[1] = 1
    version: int
    """Number of the version, from 1."""
    job: JobRef
    """Whose output it is."""
    attempt: int
    """The attempt that committed; in a fence, the newest attempt that may not commit any more."""
    mode: str
    """errorIfExists, append, overwrite; or `fence`, which changes no data."""
    add: tuple[StagedFile, ...] = ()
    """Files that it brings."""
    remove: tuple[str, ...] = ()
    """Paths below data/ that it takes away."""
    columns: tuple[Column, ...] = ()
    """All columns of the table, also those by which it is partitioned."""
    partition_by: tuple[str, ...] = ()
    """Columns that are folders."""
    placeholder: str | None = None
    """The zero-row file that stands for a table without rows, if that is what the table now is."""
    rows: int = 0
    """Rows that it brings."""
    bytes: int = 0
    """Bytes that it brings."""
    created: datetime
    """When it was written."""


def owner_of(uid: str) -> str:
    """Eight hexadecimal digits that stand for a job in file names: the UID's first, or a hash of another identity.

    Eight such digits stand for themselves: they are all that a stranger's file name tells.
    """
    if _OWNER.fullmatch(uid):
        return uid
    try:
        return uuid.UUID(uid).hex[:8]
    except ValueError:
        return hashlib.sha256(uid.encode()).hexdigest()[:8]


def part_name(uid: str, attempt: int, rank: int, sequence: int) -> str:
    """Name of a file: unique in the table, so that no file is ever overwritten."""
    return f"part-{owner_of(uid)}-{attempt}-{rank:05d}-{sequence:05d}.parquet"


def parse_part(key: str) -> tuple[str, int] | None:
    """Owner and attempt of a file of ours, by its name; None for any other file."""
    found = _PART.fullmatch(key)
    return (found["owner"], int(found["attempt"])) if found else None


def read_record(key: str, body: bytes) -> CommitRecord:
    """Parse a commit record."""
    try:
        return CommitRecord.model_validate_json(body)
    except ValidationError as exc:
        raise _unreadable(key, exc) from exc


def read_pending(key: str, body: bytes) -> PendingSet:
    """Parse a pending set."""
    try:
        return PendingSet.model_validate_json(body)
    except ValidationError as exc:
        raise _unreadable(key, exc) from exc


def _unreadable(key: str, exc: ValidationError) -> JobError:
    first = exc.errors(include_input=False)[0]
    return JobError(
        Failure.UNSAFE_STORE,
        f"{key} is not a record that this runner can read ({first['msg']} at {first['loc']}): it is damaged, or was "
        "written by a newer runner; use the image of that release",
    )
