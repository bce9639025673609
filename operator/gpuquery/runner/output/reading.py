"""Reading a table of ours: exactly the files of one version, with the types of its record.

The files are read as an input of a job is (`runner/inputs`), so that files which are older than a column, or have a
narrower type, are brought to the record's types without a change of value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import File, dtypes
from gpuquery.runner.inputs.formats import parquet
from gpuquery.runner.inputs.formats.parquet import widen
from gpuquery.runner.output import evolve, pointer
from gpuquery.runner.output.hive import NULL
from gpuquery.runner.output.log import Log
from gpuquery.runner.stores.base import DATA, Part, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.output.pointer import LiveFile
    from gpuquery.runner.stores.base import Store


@dataclass(frozen=True)
class OpenTable:
    """One version of a table. Its files are never changed, but an overwrite deletes those that it replaces."""

    uri: str
    version: int
    committed: datetime
    """When the version was committed."""
    columns: Mapping[str, str]
    """Columns with their Polars types, as text."""
    partition_by: Sequence[str]
    files: Sequence[str]
    """URIs of exactly the files of this version."""
    rows: int
    bytes: int
    _access: StoreAccess
    _live: Sequence[LiveFile]

    def lazy(self) -> pl.LazyFrame:
        """Return the rows. Reads the files' footers. Raises JobError that names a file that is gone."""
        partitions = {name: _key_type(self.columns[name]) for name in self.partition_by}
        # The place is only for messages, and to find what reads it; the files are given.
        item = Input.model_construct(name="table", uri=f"{self.uri}/part.parquet", types=partitions)
        if not self._live:
            return pl.LazyFrame(schema={name: evolve.dtype(text) for name, text in self.columns.items()})
        source = stores.of(self.uri).source(self.uri)
        files = [File(f"{source}/{one.path}", one.bytes, "", self._keys(one.path)) for one in self._live]
        reading = parquet.resolve(item, files, self._access)
        if lost := [f'column "{name}" {why}' for name, why in reading.absent.items() if name in self.columns]:
            raise JobError(Failure.INVALID_INPUT, f"{self.uri}: {'; '.join(lost)}")
        frame = reading.frame(item, files, self._access)
        return frame.select(_brought(name, text, reading.schema) for name, text in self.columns.items())

    def _keys(self, path: str) -> tuple[tuple[str, str | None], ...]:
        """The partition of a file; the file that stands for a table without rows has those columns itself."""
        folders = (folder.partition("=") for folder in path.removeprefix(DATA).split("/")[:-1])
        return tuple((name, None if text == NULL else unquote(text)) for name, _, text in folders)


def open_table(uri: str, version: int | None, access: StoreAccess) -> OpenTable:
    """Open the table at the `output.uri` of a job: the version that is published, or another one. Raises JobError."""
    root = uri.rstrip("/").removesuffix(f"/{DATA.rstrip('/')}")
    store = cast("Store", _Looked(root, access))

    def opened(number: int, of: Any, live: Sequence[LiveFile]) -> OpenTable:
        return OpenTable(
            uri=root,
            version=number,
            committed=of.committed if isinstance(of, pointer.Pointer) else of.created,
            columns={column.name: column.type for column in of.columns},
            partition_by=of.partition_by,
            files=tuple(f"{root}/{one.path}" for one in live),
            rows=sum(one.rows for one in live),
            bytes=sum(one.bytes for one in live),
            _access=access,
            _live=live,
        )

    if version is None:
        for _ in range(2):  # the list of a pointer that was just moved may be gone
            if (told := pointer.read(store)) is not None and (live := pointer.files(store, told)) is not None:
                return opened(told.version, told, live)
    log = Log(store)
    log.refresh()
    number = _chosen(log, root, version)
    (record,) = log.read([number])
    return opened(number, record, pointer.live(log, number))


def _chosen(log: Log, root: str, version: int | None) -> int:
    """Return the version to read, all of whose files are there. Raises InvalidInput with the way out."""
    published = [entry.version for entry in log.tables() if entry.done]
    if not published:
        raise _unread(
            f"no job of GpuQuery has committed anything at {root}: write the output.uri of a job; Delta and Iceberg "
            "tables are read by Polars itself (scan_delta, scan_iceberg)"
        )
    if version is None:
        return published[-1]
    if version not in published:
        raise _unread(f"{root} has no published version {version}; `gpuquery history {root}` lists them")
    wanted = log.live(version)
    for record in log.read([entry.version for entry in log.tables() if entry.version > version]):
        if any(path in wanted for path in record.remove):
            raise _unread(
                f"version {version} of {root} is not whole: version {record.version} (mode {record.mode}) has deleted "
                "files of it; read a newer one"
            )
    return version


def _key_type(text: str) -> str:
    """The type by which values of folders are read: categories are texts there."""
    return "String" if text.startswith(("Categorical", "Enum")) else text


def _brought(name: str, text: str, have: Mapping[str, pl.DataType]) -> pl.Expr:
    """Return a column in the type of the record."""
    want = evolve.dtype(text)
    if want is None or have.get(name) == want:
        return dtypes.column(name)
    if name not in have:
        return pl.lit(None, dtype=want).alias(name)
    if widen.common(have[name], want) == want:
        return widen.brought(dtypes.column(name), have[name], want).alias(name)
    return dtypes.column(name).cast(want) if have[name] == pl.String else dtypes.column(name)


def _unread(why: str) -> JobError:
    return JobError(Failure.INVALID_INPUT, why)


class _Looked:
    """A table's folder that is only read: what `Log` and `pointer` ask of a `Store`."""

    def __init__(self, root: str, access: StoreAccess) -> None:
        self._root = root
        prefix = stores.locate(root).prefix
        self._prefix = f"{prefix}/" if prefix else ""
        self._files = stores.files(f"{root}/{pointer.POINTER}", access)

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        uri = f"{self._root}/{key}"
        if (found := self._files.look([uri]).get(uri)) is None:
            return None
        return self._files.read([Part(uri, 0, found.bytes)], lambda _, body: body)[0]

    def size(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""
        uri = f"{self._root}/{key}"
        found = self._files.look([uri]).get(uri)
        return None if found is None else found.bytes

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """List what is below a prefix."""
        found = [one for page in self._files.below(self._prefix + prefix) for one in page]
        keys = ((one.key.removeprefix(self._prefix), one) for one in found if not one.key.endswith("/"))
        yield from sorted(
            (Stored(key, one.bytes, one.modified) for key, one in keys if key > after), key=lambda item: item.key
        )

    def can_be(self, upload_id: str, key: str, staging: str) -> bool:
        """Whatever the uploads were called: nobody completes them here."""
        return True

    def parallel(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Sequence[Any]:
        """One after the other: each reads 64 ranges at a time."""
        return [work(item) for item in items]
