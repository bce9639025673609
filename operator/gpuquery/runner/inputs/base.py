"""What an input is once it is resolved: its files, one schema, and one way to read them.

An input is resolved once for an attempt (index 0 does it) and passed on as JSON, so every rank, engine and estimate
reads the same files in the same way. A format or a table format is one module that makes a `Reading`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import polars as pl

from gpuquery.api.status import InputStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

DIGITS = 16
"""Digits of a digest that a status shows."""
Schema = dict[str, pl.DataType]


class File(NamedTuple):
    """A file that is read."""

    uri: str
    """Its place, as the store's `source` takes it: `s3://lake/t/k=1/a.parquet`, `/data/t/a.parquet`."""
    bytes: int
    version: str = ""
    """What changes when the file is replaced: an ETag, or the time of its last change in nanoseconds."""
    keys: tuple[tuple[str, str | None], ...] = ()
    """Columns of its key=value folders with their decoded texts, outermost first; None is the null partition."""


@dataclass(frozen=True)
class Listed:
    """The files of an input, sorted by their places, without those that readers pass over."""

    files: tuple[File, ...]
    warnings: tuple[str, ...] = ()


class Reading(ABC):
    """How the files of one input are read. Immutable; everything in it can be written as JSON."""

    kind: ClassVar[str]
    """One word for the registry, such as parquet."""

    schema: Schema
    """Columns of the input with their types, in order."""
    warnings: tuple[str, ...]
    """What the author should know, such as columns that some files lack."""

    @property
    def absent(self) -> Mapping[str, str]:
        """Columns that are there and not read, with the reason, said of the column: `is encrypted, ...`."""
        return {}

    @property
    def cpu_only(self) -> str:
        """Why GPU engines cannot read it, said of the input, with the way out; empty if they can."""
        return ""

    def for_gpu(self) -> Self:
        """Return the way in which a GPU engine reads it, where that is another one."""
        return self

    @abstractmethod
    def frame(
        self, item: Input, files: Sequence[File], access: StoreAccess, *, places: str | None = None
    ) -> pl.LazyFrame:
        """Return the lazy frame, whose schema is `schema`; reads nothing.

        `places` adds a column of this name with the place of each row's file.
        """

    def unlock(self, item: Input, access: StoreAccess) -> None:
        """Let this process read the files, if that needs more than its environment."""
        return

    def located(self, item: Input, files: Sequence[File], access: StoreAccess, exc: BaseException) -> str | None:
        """Say which file, line and column of this input is behind what Polars raised while the query ran.

        Looks into the files again. None where nothing in them explains it. Raises nothing but JobError of the store.
        """
        return None

    @property
    def sampled(self) -> bool:
        """Whether only a sample of the files was looked at, so that `verify` must look at all of them."""
        return False

    def verify(self, item: Input, files: Sequence[File], access: StoreAccess, at: int) -> None:  # noqa: B027
        """Look at every line of a file, by index, for what its reader passes over.

        Raises JobError(InvalidInput) that names file, line and column.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes, without `kind`."""

    @classmethod
    @abstractmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""


@dataclass(frozen=True)
class Resolved:
    """One input of a job, resolved."""

    item: Input
    files: tuple[File, ...]
    reading: Reading
    warnings: tuple[str, ...] = ()
    """All warnings, those of the reading included."""
    snapshot: str = ""
    """The snapshot or version of a table; empty for files."""
    facts: Mapping[str, Any] | None = None
    """What a preflight has found in footers for the planner of SQL, as query/facts.py writes it; None: look there."""

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of places, sizes and versions of all files, and of the snapshot: equal if the input is."""
        return _digest(self.files, self.snapshot)

    @property
    def schema(self) -> Schema:
        """Columns with their types, in order."""
        return self.reading.schema

    @property
    def absent(self) -> Mapping[str, str]:
        """Columns that are there and cannot be read, with the reason: a query that names one is told."""
        return self.reading.absent

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    def frame(self, access: StoreAccess, *, places: str | None = None) -> pl.LazyFrame:
        """Return the lazy frame; `places` adds a column with the place of each row's file."""
        return self.reading.frame(self.item, self.files, access, places=places)

    def told(self) -> InputStatus:
        """Return what the status says of it."""
        return InputStatus(
            name=self.item.name,
            files=len(self.files),
            bytes=self.bytes,
            digest=self.digest[:DIGITS],
            snapshot=self.snapshot,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `resolve.from_json` takes; the input itself is in the plan."""
        facts = {} if self.facts is None else {"facts": dict(self.facts)}
        return facts | {
            "kind": self.reading.kind,
            "files": [[f.uri, f.bytes, f.version, [list(pair) for pair in f.keys]] for f in self.files],
            "reading": self.reading.to_json(),
            "warnings": list(self.warnings),
            "snapshot": self.snapshot,
        }


def files_from_json(value: Sequence[Any]) -> tuple[File, ...]:
    """Read the files of `Resolved.to_json`."""
    return tuple(File(uri, size, version, tuple((k, v) for k, v in keys)) for uri, size, version, keys in value)


def schema_to_text(schema: Mapping[str, pl.DataType]) -> str:
    """Write a schema as text from which the very same types come back, categories and time zones included."""
    file = io.BytesIO()
    pl.DataFrame(schema=dict(schema)).write_ipc(file)
    return base64.b64encode(file.getvalue()).decode()


def schema_from_text(text: str) -> Schema:
    """Read what `schema_to_text` wrote."""
    return dict(pl.read_ipc(io.BytesIO(base64.b64decode(text))).schema)


def _digest(files: Sequence[File], snapshot: str) -> str:
    made = hashlib.sha256(json.dumps(snapshot).encode())
    for one in files:
        made.update(json.dumps([one.uri, one.bytes, one.version]).encode())
    return made.hexdigest()
