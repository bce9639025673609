"""An Iceberg table that a result is committed to. See `commit` for what decides, `state` for how rows lie in it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.api.schema import Lenient
from gpuquery.api.status import MAX_EXPECTATIONS_SHOWN, OutputStatus
from gpuquery.api.text import clean
from gpuquery.plan.plan import JobRef
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables.iceberg import catalogs, files, vending
from gpuquery.runner.output import expect
from gpuquery.runner.output.commit import Step
from gpuquery.runner.output.genuine import read_pending
from gpuquery.runner.output.tables.abandoned import BASE
from gpuquery.runner.output.tables.base import Asked, Layout, Live
from gpuquery.runner.output.tables.complete import Complete, Mark
from gpuquery.runner.output.tables.iceberg import commit, creation, data_files, marks, state, transforms
from gpuquery.runner.output.tables.iceberg.draft import Change, head
from gpuquery.runner.output.tables.iceberg.file_io import StoreIO
from gpuquery.runner.output.tables.iceberg.replaced import replaced
from gpuquery.runner.output.tables.iceberg.schemas import UnfitError
from gpuquery.runner.parquet import field_ids
from gpuquery.runner.stores.base import COMMITS, DATA, STAGING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import polars as pl

    from gpuquery.runner.output.modes import Result
    from gpuquery.runner.output.record import PendingSet
    from gpuquery.runner.output.tables.iceberg.marks import Base, Landed
    from gpuquery.runner.output.tables.iceberg.state import State
    from gpuquery.runner.stores.base import Store

MAIN = "main"
EXPECTED = "gpuquery.expectations"
_STEPS = {Step.BEFORE_RECORD: Step.MID_PUBLISH, Step.AFTER_RECORD: Step.BEFORE_MARKER}
"""The steps of a request, within those of the whole commit."""
_MOST_BYTES = 10_000
"""Of what a runner leaves in the folder besides files; anyone can put more there."""


class Done(Lenient):
    """What is left of a job that has committed, for when its snapshot has expired."""

    format: Literal[1] = 1
    job: JobRef
    attempt: int
    status: OutputStatus


class Iceberg(Complete):
    """A table of a REST catalog, with data files below data/<uid>/<attempt>/."""

    below = DATA
    statistics = 100

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self._output, self._access = asked.plan.output, asked.plan.store
        told = self._output.table
        assert told is not None
        self._branch = told.branch or MAIN
        self._create = told.create
        self._place = catalogs.Asked(told.catalog, told.name, "output.table", Failure.USER_ERROR)
        self._catalog = catalogs.Catalog(self._place, self._access, StoreIO(self._access, asked.stop), asked.stop)
        self._committer = commit.Committer(
            self._catalog, asked.job, self._attempt, lambda step: asked.hook(_STEPS[step]), asked.stop
        )
        self._loading = threading.RLock()
        self._handle: Any = None
        self._state: State | None = None
        self.ended = self._with_ids

    @property
    def where(self) -> str:
        """Catalog and name."""
        return self._output.shown

    @property
    def exists(self) -> bool:
        """Whether the catalog has it."""
        return self._table() is not None

    @property
    def root(self) -> str:
        """Folder of the table."""
        return files.place(self._there().metadata.location).rstrip("/")

    def open(self) -> tuple[Store, Store]:
        """Open the folder, with the credentials that the catalog vends, if it does."""
        metadata = self._there().metadata
        vending.begin(self._catalog, metadata)
        asked = self._asked
        return stores.of(self.root).table(
            stores.locate(self.root), self._access, staging=asked.staging, stop=asked.stop
        )

    def make(self, schema: pl.Schema) -> None:
        """Create the table, if there is none and `output.table.create` is set."""
        if self._table() is not None or self._create is None:
            return
        try:
            with self._loading:
                self._handle = creation.create(self._catalog, self._create, schema)
        except UnfitError as exc:
            raise self._place.error(Failure.USER_ERROR, str(exc)) from None
        self.check_mode()

    def find(self) -> Mark | None:
        """Look for the job's snapshot, and for what is left of one that has expired."""
        if (table := self._loaded()) is None:
            return None
        if (landed := marks.find(table.metadata, self._asked.job)) is not None:
            return Mark(self._left(self.hurried, landed))
        if (size := self.hurried.size(self._done_key)) is not None:
            body = self.hurried.get(self._done_key) if size <= _MOST_BYTES else None
            return Mark(self._read_done(body or b"").status)
        self._committer.find(table.metadata, self._bases())
        return None

    def check_mode(self) -> None:
        """Raise OutputExists, or UserError for a table that is not written here."""
        if (table := self._table()) is None:
            if self._create is None:
                self._there()
            self._check_branch(None)
            return
        self._check_mode(table.metadata)

    def live(self) -> Live | None:
        """Return the branch's snapshot, if one job of ours has made all of it and its files are all there."""
        table = self._loaded()
        snapshot: Any = table.metadata.snapshot_by_name(self._branch) if table is not None else None
        told = snapshot.summary.additional_properties if snapshot is not None and snapshot.summary else {}
        namespace, _, name = told.get(marks.JOB, "").partition("/")
        uid, attempt = told.get(marks.UID, ""), told.get(marks.ATTEMPT, "")
        alone = all(told.get(f"total-{what}") == told.get(f"added-{what}", "0") for what in ("records", "data-files"))
        if not (namespace and name and uid and marks.NUMBER.fullmatch(attempt)):
            return None
        if not alone or told.get("total-delete-files") != "0":
            return None
        if not 0 <= snapshot.timestamp_ms < 1 << 44:
            return None
        if snapshot.schema_id != table.metadata.current_schema_id:
            return None  # somebody has changed its columns since, which makes no snapshot
        there = {f"{self.root}/{item.key}" for item in self.hurried.list(f"{DATA}{uid}/")}
        if not self._added(table, uid) <= there:
            return None
        status = self._status(marks.Landed(snapshot.snapshot_id, int(attempt), told))
        created = datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
        return Live(JobRef(namespace=namespace, name=name, uid=uid), created, status)

    def fit(self, schema: pl.Schema) -> Layout:
        """Match the result's columns with the table's, and part and sort rows as the table says."""
        self._catalog.patience = commit.PATIENCE  # what is written from now on is worth waiting
        try:
            self._state = found = state.seen(self._output, self._there().metadata, schema)
        except UnfitError as exc:
            raise self._place.error(Failure.USER_ERROR, str(exc)) from None
        return Layout(select=found.select(), keys=transforms.keys(found.parts), order=found.order, verbatim=False)

    def values(self, keys: pl.DataFrame) -> Mapping[str, str | None]:
        """Give the partition's values by the names of the partition spec."""
        assert self._state is not None
        row = [keys.to_series(number)[0] for number in range(keys.width)]
        return dict(zip((one.name for one in self._state.parts), transforms.texts(row), strict=True))

    def path(self, values: Mapping[str, str | None], name: str) -> str:
        """Put all files of an attempt into one folder."""
        return f"{self._folder}{name}"

    def read_pending(self, key: str, body: bytes) -> PendingSet:
        """Read a pending set, whose files must be this attempt's, and written by the same schema."""
        return read_pending(key, body, self._uid, self._attempt, None, folder=self._folder)

    def publish(self, result: Result) -> Mark:
        """Commit a snapshot."""
        key = f"{self._asked.staging}/{BASE}"

        def asking(base: Base) -> None:
            self.store.put(key, base.model_dump_json().encode())

        self.certain = False
        try:
            landed = self._committer.commit(lambda table: self._planned(table, result), self._bases(), asking)
        except BaseException:
            if self._committer.certain:
                self.store.delete([key])  # else it raises doubts once that snapshot has expired
            raise
        finally:
            self.certain = self._committer.certain
        return Mark(self._left(self.store, landed), mine=landed.attempt == self._attempt)

    def committed_by(self, uid: str) -> int | None:
        """Ask the table's newest metadata."""
        if (landed := self._marked(self._there(anew=True).metadata, uid)) is not None:
            return landed
        return None if self.hurried.size(f"{COMMITS}{uid}.json") is None else 0

    def files_of(self, uid: str, attempt: int) -> Iterable[str]:
        """List the attempt's folder."""
        return [item.key for item in self.store.list(f"{DATA}{uid}/{attempt}/")]

    def unnamed(self, keys: Sequence[str]) -> Sequence[str]:
        """Files of one attempt that no snapshot has added.

        Only a snapshot with the mark of the attempt adds its files. Where there is none, but one may have expired, all
        of them stay.
        """
        _, uid, attempt, *_ = keys[0].split("/")
        table = self._there(anew=True)
        by = self._marked(table.metadata, uid)
        if by is None:
            return [] if self._may_have_committed(table.metadata, uid) else keys
        if str(by) != attempt:
            return keys
        added = self._added(table, uid)
        return [key for key in keys if f"{self.root}/{key}" not in added]

    def refused(self, exc: JobError) -> bool:
        """Whether no request may have been, or may yet be, carried out."""
        return self._committer.certain

    def _planned(self, table: Any, result: Result) -> commit.Asked:
        """What becomes of the table as it is now. Raises OutputExists; InputChanged where the result fits no more."""
        from pyiceberg.table.update import update_table_metadata

        metadata, mine = table.metadata, self._state
        assert mine is not None
        self._check_mode(metadata)
        if why := state.moved(mine, metadata):
            text = f"the table has changed while the query ran: {why}. Another attempt writes the result anew"
            raise self._place.error(Failure.INPUT_CHANGED, text)
        updates, requirements = creation.evolved(mine, metadata)
        metadata = update_table_metadata(metadata, updates) if updates else metadata
        location = metadata.location.rstrip("/")
        added = [data_files.made(one, f"{location}/{DATA}{one.path}", mine.layout) for one in result.files]
        properties = marks.properties(self._asked.job, self._attempt)
        if shown := expect.shown(result.expectations):
            properties[EXPECTED] = shown
        change = Change(
            self._branch, {mine.layout.spec_id: added} if added else {},
            replaced(self._output, mine, added, metadata), properties,
        )  # fmt: skip
        return commit.Asked(metadata, change, updates, requirements)

    def _check_branch(self, snapshot: Any) -> None:
        """Raise UserError for a branch of a table without `snapshot`s: pyiceberg's catalogs refuse its first commit."""
        if snapshot is None and self._branch != MAIN:
            raise self._place.error(
                Failure.USER_ERROR,
                f"the branch {self._branch} begins at a snapshot of the table, and there is none yet: write to the "
                "table itself first, without output.table.branch",
            )

    def _check_mode(self, metadata: Any) -> None:
        self._check_branch(head(metadata, self._branch))
        try:
            state.check(self._output, metadata, self._branch)
        except UnfitError as exc:
            raise self._place.error(Failure.USER_ERROR, str(exc)) from None
        if self._output.mode is not OutputMode.ERROR_IF_EXISTS:
            return
        if (snapshot := head(metadata, self._branch)) is not None:
            by = clean((snapshot.summary or {}).get(marks.JOB) or "", 200)
            raise self._place.error(
                Failure.OUTPUT_EXISTS,
                f"it has the snapshot {snapshot.snapshot_id} already{f', by job {by}' if by else ''}; use mode append "
                "or overwrite, or another table",
            )

    def _with_ids(self, tail: bytes) -> bytes:
        assert self._state is not None
        return field_ids.with_ids(tail, self._state.layout.ids)

    def _table(self) -> Any:
        """pyiceberg's table as it was first loaded; None if there is none and one is to be made."""
        with self._loading:
            if self._handle is None:
                self._handle = self._loaded()
            return self._handle

    def _there(self, *, anew: bool = False) -> Any:
        """The table. Raises UserError if there is none."""
        found = None if anew else self._table()
        return self._catalog.load() if found is None else found

    def _loaded(self) -> Any:
        """The table as it is now; None if there is none and one is to be made."""
        from pyiceberg import exceptions as known

        if self._create is None:
            return self._catalog.load()
        missing = (known.NoSuchTableError, known.NoSuchNamespaceError, known.NoSuchIdentifierError)
        try:
            return self._catalog.ask(lambda client: client.load_table(self._place.identifier), unlike=missing)
        except missing:
            return None

    def _status(self, landed: Landed) -> OutputStatus:
        def number(name: str) -> int:
            text = landed.summary.get(name, "0")
            return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0

        return OutputStatus(
            uri=self._output.published,
            snapshot=str(landed.snapshot_id),
            location=self._there().metadata.location[:1024],
            files=number("added-data-files"),
            rows=number("added-records"),
            bytes=number("added-files-size"),
            partitions=number("changed-partition-count"),
            expectations=landed.summary.get(EXPECTED, "")[:MAX_EXPECTATIONS_SHOWN],
        )

    def _left(self, store: Store, landed: Landed) -> OutputStatus:
        """Return what was committed, and leave it for when its snapshot has expired."""
        done = Done(job=self._asked.job, attempt=landed.attempt, status=self._status(landed))
        store.put(self._done_key, done.model_dump_json().encode())
        return done.status

    def _read_done(self, body: bytes) -> Done:
        try:
            done = Done.model_validate_json(body)
        except ValidationError as exc:
            raise self._odd(f"{exc.errors()[0]['msg']}") from None
        if done.job != self._asked.job:
            raise self._odd(f"it is of attempt {done.attempt} of {done.job.namespace}/{done.job.name}")
        return done

    def _odd(self, what: str) -> JobError:
        return JobError(
            Failure.UNSAFE_STORE,
            f"{self._done_key} is not what a runner of this job leaves there ({what[:200]}): find out who wrote it",
        )

    def _bases(self, uid: str = "") -> Sequence[Base]:
        """How far the table had come when the attempts of a job last asked for its commit. Raises UnsafeStore."""
        found = [item for item in self.store.list(f"{STAGING}{uid or self._uid}/") if item.key.endswith(f"/{BASE}")]
        bodies = [(one.key, self.store.get(one.key) if one.bytes <= _MOST_BYTES else b"") for one in found]
        return [marks.read(key, body) for key, body in bodies if body is not None]

    def _may_have_committed(self, metadata: Any, uid: str) -> bool:
        """Whether a job may have a snapshot that has expired."""
        if self.hurried.size(f"{COMMITS}{uid}.json") is not None:
            return True
        try:
            return any(marks.doubt(metadata, base) for base in self._bases(uid))
        except JobError as exc:
            if exc.failure is not Failure.UNSAFE_STORE:
                raise
            return True  # anyone may have written it, and what another job has left keeps nobody from his work

    def _marked(self, metadata: Any, uid: str) -> int | None:
        """The attempt whose snapshot a table has; 0 if it does not say."""
        for one in metadata.snapshots:
            told = one.summary.additional_properties if one.summary is not None else {}
            if told.get(marks.UID) == uid:
                number = told.get(marks.ATTEMPT, "")
                return int(number) if marks.NUMBER.fullmatch(number) else 0
        return None

    def _added(self, table: Any, uid: str) -> set[str]:
        """Places of the files that a job's snapshots have added."""
        out = set()
        for one in table.metadata.snapshots:
            if one.summary is None or one.summary.additional_properties.get(marks.UID) != uid:
                continue
            for manifest in one.manifests(table.io):
                if manifest.added_snapshot_id == one.snapshot_id:
                    entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
                    out |= {files.place(entry.data_file.file_path) for entry in entries}
        return out

    @property
    def _folder(self) -> str:
        assert self._state is not None
        return f"{self._uid}/{self._attempt}/{self._state.digest}/"

    @property
    def _done_key(self) -> str:
        return f"{COMMITS}{self._uid}.json"
