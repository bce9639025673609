"""`overwriteWhere`, as of one state of a branch: which files go, and what is written anew of those that go in part.

A file's partition and bounds decide where they can. Of the others the columns of the condition are read; a file without
a row that meets it stays as it is, and one with some is written anew without them, under its own partition spec and
with its own partition values, so that no value is computed. Deletes of its rows are applied then.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from dataclasses import field as item
from typing import TYPE_CHECKING, Any, cast

from gpuquery.api.reasons import Failure
from gpuquery.runner import later
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables.iceberg import manifests, plan, types
from gpuquery.runner.inputs.tables.iceberg.reading import OWN
from gpuquery.runner.output.tables import rewrite
from gpuquery.runner.output.tables.iceberg import data_files, schemas
from gpuquery.runner.output.tables.iceberg.data_files import Layout
from gpuquery.runner.output.tables.iceberg.draft import head
from gpuquery.runner.output.tables.iceberg.predicate import Fate, Predicate
from gpuquery.runner.output.tables.iceberg.state import fields_of
from gpuquery.runner.output.upload import Wanted
from gpuquery.runner.parquet import field_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from pyiceberg.manifest import DataFile

    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.tables.iceberg.manifests import Entry, Planned
    from gpuquery.runner.output.tables.base import Asked
    from gpuquery.runner.output.tables.iceberg.file_io import StoreIO
    from gpuquery.runner.output.tables.rewrite import Rewriter
    from gpuquery.runner.stores.base import Store

_LOG = logging.getLogger(__name__)
THREADS = 4


@dataclass(frozen=True)
class Rewritten:
    """What becomes of the files of a branch."""

    gone: frozenset[str] = frozenset()
    """Places of the data files that go."""
    added: Mapping[int, Sequence[DataFile]] = item(default_factory=dict)
    """New files with the rows that stay of them, by partition spec."""

    @property
    def files(self) -> Sequence[DataFile]:
        """All new files."""
        return [one for some in self.added.values() for one in some]


class Rewriting:
    """A condition over the rows of one state of a branch."""

    def __init__(self, where: str, metadata: Any, branch: str, file_io: StoreIO) -> None:
        """`metadata` has the schema that the commit leaves. Raises UnfitError."""
        self._metadata, self._io = metadata, file_io
        self._access: StoreAccess = file_io.access
        self._parent = head(metadata, branch)
        self._predicate = Predicate(where, metadata.schema())
        self._gone: set[str] = set()
        self._partly: list[DataFile] = []
        for manifest in self._parent.manifests(file_io) if self._parent is not None else ():
            if int(manifest.content) != manifests.DATA:
                continue
            for entry in manifest.fetch_manifest_entry(file_io, discard_deleted=True):
                self._judge(entry.data_file, manifest.partition_spec_id)

    def check(self) -> None:
        """Raise JobError for files that cannot be written anew: there are too many bytes, or they cannot be read."""
        if self._partly:
            size = sum(one.file_size_in_bytes for one in self._partly)
            rewrite.check_size(self._what, size, len(self._partly))
            found = self._planned()
            wanted = {one.file_path for one in self._partly}
            some = [one for one in found.data if one.location in wanted]
            self._reading(manifests.Planned(some, found.positions, found.equality))

    def rewritten(self, asked: Asked, store: Store, folder: str, below: str) -> Rewritten:
        """Write the files anew that go in part, below `below` in a folder. Raises JobError; then nothing is left."""
        if not self._partly:
            return Rewritten(frozenset(self._gone))
        rewrite.check_size(self._what, sum(one.file_size_in_bytes for one in self._partly), len(self._partly))
        fields = fields_of(self._metadata.schema())
        if why := next((said for one in fields if (said := schemas.unwritten(one))), ""):
            raise self._refused(f"the table has a column {why}")
        ids = schemas.ids(fields)
        wanted = Wanted(below, True, 100, lambda tail: field_ids.with_ids(tail, ids))
        writer = rewrite.Rewriter(asked, store, wanted)
        try:
            return self._written(writer, ids, folder, below)
        except BaseException:
            writer.drop()
            raise

    def _written(self, writer: Rewriter, ids: Mapping[tuple[str, ...], int], folder: str, below: str) -> Rewritten:
        found, schema = self._planned(), self._metadata.schema()
        entries = {one.location: one for one in found.data}
        index = manifests.Index(found.positions, entries)
        holds = self._predicate.expression()

        def work(old: DataFile) -> Sequence[str] | None:
            """Paths of the new files; None if the old one stays."""
            frame = self._frame(entries[old.file_path], index, found)
            rows, met = rewrite.counted(frame, holds, f"{self._what}: reading {old.file_path}")
            if not met:
                return None
            if met == rows:
                return []
            opened = writer.write(frame, holds, folder, f"{self._what}: writing {old.file_path} anew")
            if (kept := sum(one.rows or 0 for one in opened)) != rows - met:
                raise self._refused(f"{old.file_path} has {rows - met:,} rows that stay, and {kept:,} were written")
            return [one.path for one in opened]

        made = later.each(work, self._partly, THREADS)
        staged = writer.finish()
        added: dict[int, list[DataFile]] = {}
        leaves = {n: schema.find_type(n) for n in ids.values() if schema.find_type(n).is_primitive}
        for old, paths in zip(self._partly, made, strict=True):
            layout = Layout(old.spec_id, (), old.sort_order_id, ids, leaves)
            for path in paths or ():
                place = f"{self._metadata.location.rstrip('/')}/{below}{path}"
                new = data_files.made(staged[path], place, layout, old.partition)
                added.setdefault(old.spec_id, []).append(new)
        out = {old.file_path for old, paths in zip(self._partly, made, strict=True) if paths is not None}
        rows = sum(one.rows for one in staged.values())
        _LOG.info("%d files hold some rows that are replaced; %d rows of them stay, written anew", len(out), rows)
        return Rewritten(frozenset(self._gone | out), added)

    def _judge(self, file: DataFile, spec_id: int) -> None:
        fate = self._predicate.fate(file, self._metadata.specs()[spec_id])
        if fate is Fate.GOES:
            self._gone.add(file.file_path)
        elif fate is Fate.IN_PART:
            file.spec_id = spec_id
            self._partly.append(file)

    def _planned(self) -> Planned:
        return manifests.planned(self._parent.manifest_list, self._access)

    def _frame(self, entry: Entry, index: manifests.Index, found: Planned) -> pl.LazyFrame:
        """The live rows of a file, with the table's columns."""
        younger = [one for one in found.equality if one.sequence > entry.sequence]
        return self._reading(manifests.Planned([entry], index.of(entry), younger))

    def _reading(self, found: Planned) -> pl.LazyFrame:
        schema = self._metadata.schema()
        if own := [one.name for one in schema.fields if one.name.startswith(OWN)]:
            raise self._refused(f'column "{own[0]}" has a name that is reserved')
        try:
            listed, reading = plan.planned(plan.table_of(self._metadata, schema), found, self._access)
        except types.UnreadableTypeError as exc:
            raise self._refused(str(exc)) from None
        except JobError as exc:
            raise JobError(exc.failure, f"{self._what}: {exc.message}") from exc
        return reading.frame(cast("Any", None), listed, self._access)  # the input is asked for vended credentials only

    @property
    def _what(self) -> str:
        return f"output.overwriteWhere ({self._predicate.text})"

    def _refused(self, why: str) -> JobError:
        return JobError(Failure.USER_ERROR, f"{self._what} meets some rows of files, which are not written anew: {why}")
