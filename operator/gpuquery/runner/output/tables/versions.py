"""One version of a table, for people to look at: what its log or catalog says of it, which is its writer's claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class Version:
    """A commit to a Delta table, or a snapshot of an Iceberg table."""

    version: str
    """Its number; of a snapshot its id, which many programs would round as a number."""
    created: datetime | None
    job: str
    """Namespace and name of the job of ours; empty if none has made it."""
    uid: str
    writer: str
    """What has made it, if it says so."""
    operation: str
    rows: int
    """In the files that it has added, as the next two."""
    files: int
    bytes: int
    replaced: int
    """Files that it has taken away."""
    branches: tuple[str, ...] = ()
    """Branches and tags of an Iceberg table that have it in their history."""
