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

from pydantic import Field, StrictBool, StrictInt, StrictStr

from gpuquery.api.schema import Lenient
from gpuquery.plan.plan import JobRef

FENCE = "fence"
ROLLBACK = "rollback"
_OWNER = re.compile(r"[0-9a-f]{8}")
_PART = re.compile(
    r"(?:.*/)?part-(?P<owner>[0-9a-f]{8})-(?P<attempt>[1-9][0-9]{0,8})-[0-9]{5,9}-[0-9]{5,9}(?:-[0-9a-f]{8})?\.parquet",
    re.DOTALL,
)

MAX_VERSION = 10**15
"""No version is as high; there is no next one then."""
MAX_ATTEMPT = 999_999_999
MAX_PIECES = 10_000
"""The most that S3 puts together."""
MAX_TEXT = 4096
"""Characters of a path, a name or an id; no store takes longer ones."""
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]


class Column(Lenient):
    """A column of the table: name and Polars type."""

    name: str
    type: str


class ReadInput(Lenient):
    """What was read of one input."""

    name: Text
    files: Count
    bytes: Count
    digest: Text
    """SHA-256 of the places, sizes and versions of all files."""
    snapshot: Text = ""
    """The snapshot or version of a table."""


class Bound(Lenient):
    """A lower or upper bound of the values of a column."""

    value: StrictBool | Annotated[StrictInt, Field(ge=-(2**63), lt=2**64)] | Annotated[StrictStr, Field(max_length=400)]
    """The value, see `LeafStatistics.kind`."""
    exact: bool = True
    """Whether the column is known to have this very value; a long text or binary is cut, and its upper bound raised."""


class LeafStatistics(Lenient):
    """What one column of values (a leaf of the schema) of one file holds."""

    path: Annotated[tuple[Text, ...], Field(min_length=1, max_length=100)]
    """Its path in the parquet schema, such as `["a"]`, or `["l", "list", "element"]`."""
    kind: Literal["boolean", "integer", "float", "decimal", "text", "binary", ""]
    """How bounds are written: true or false; an integer, also days, and times in the unit of the file; a float as
    Python's repr; a decimal with all its places, such as `-1.50`; a text, ordered by its UTF-8; a binary in hexadecimal
    digits. Empty for what has no bounds here."""
    values: Count
    """Values, nulls included; in lists, those of all rows."""
    nulls: Count | None = None
    """Nulls; None if the file does not tell."""
    least: Bound | None = None
    """A lower bound of all values that are not null, where NaN is the greatest; None if the file does not tell."""
    most: Bound | None = None
    """An upper bound of them. Floats have none: no footer tells whether there are NaN."""
    bytes: Count
    """Compressed bytes in the file."""


Statistics = Annotated[tuple[LeafStatistics, ...], Field(max_length=10_000)]


class StagedFile(Lenient):
    """A file whose bytes are in the store, still invisible."""

    path: Text
    """Its path below data/."""
    upload_id: Text = ""
    """The upload to complete; empty for an object that is complete."""
    pieces: Annotated[tuple[Text, ...], Field(max_length=MAX_PIECES)] = ()
    """What the store said of each piece, in order (S3: ETags); empty for an object that is complete."""
    bytes: Count
    """Its size."""
    rows: Count
    """Rows in it, from its own footer."""
    values: Mapping[str, str | None] = {}
    """Partition column to value."""
    statistics: Annotated[Statistics | None, Field(exclude_if=lambda found: found is None)] = None
    """What its columns hold, for formats that keep it beside the file."""


class PendingSet(Lenient):
    """Everything that one rank of an attempt has uploaded."""

    format: Literal[1] = 1
    files: tuple[StagedFile, ...]
    nulls: Mapping[str, Count] = {}
    """Nulls of the columns that `notNull` names, in all of these files."""
    kept: Count = 0
    """Objects beside this one that hold the columns which expectations read."""


class CommitRecord(Lenient):
    """One version of the table. It is committed as soon as this record exists."""

    format: Literal[1, 2] = 1
    """2 of the modes overwritePartitions and rollback, which older runners do not know: they stop there."""
    version: Annotated[int, Field(ge=1, lt=MAX_VERSION)]
    """Number of the version, from 1."""
    job: JobRef
    """The job that wrote it."""
    attempt: Annotated[int, Field(ge=1, le=MAX_ATTEMPT)]
    """The attempt that committed; in a fence, the newest attempt that may not commit any more."""
    mode: Literal["errorIfExists", "append", "overwrite", "overwritePartitions", "rollback", "fence"]
    """A mode of the output; `rollback`, which takes later files away; or `fence`, which changes no data."""
    add: tuple[StagedFile, ...] = ()
    """Files that it brings."""
    remove: tuple[Text, ...] = ()
    """Paths below data/ that it takes away."""
    columns: tuple[Column, ...] = ()
    """All columns of the table, also those by which it is partitioned."""
    partition_by: tuple[str, ...] = ()
    """Columns that are folders."""
    placeholder: Text | None = None
    """The zero-row file that stands for a table without rows, if that is what the table now is."""
    rows: Count = 0
    """Rows that it brings."""
    bytes: Count = 0
    """Bytes that it brings."""
    inputs: tuple[ReadInput, ...] = ()
    """What was read for it. A record of an older runner has none."""
    expectations: tuple[Text, ...] = ()
    """The expectations that were checked before it and hold, each in a few words."""
    restores: Annotated[int, Field(ge=1, lt=MAX_VERSION)] | None = None
    """The version that a rollback goes back to."""
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


def part_name(uid: str, attempt: int, rank: int, sequence: int, token: str = "") -> str:
    """Name of a file: unique in the table, so that no file is ever overwritten.

    `token` is eight hexadecimal digits of the process, for files that are visible objects before the commit.
    """
    token = token and f"-{token}"
    return f"part-{owner_of(uid)}-{attempt}-{rank:05d}-{sequence:05d}{token}.parquet"


def parse_part(key: str) -> tuple[str, int] | None:
    """Owner and attempt of a file of ours, by its name; None for any other file."""
    found = _PART.fullmatch(key)
    return (found["owner"], int(found["attempt"])) if found else None
