"""Delta tables: `output.uri` is the root of the table, and the next entry of its log is the commit.

    <uri>/_delta_log/00000000000000000007.json     the log; its entry with the job's UID is the job's commit
    <uri>/data/day=2026-01-01/part-….parquet       data files, found by no reader until the log names them
    <uri>/_staging/<uid>/<attempt>/…               what an attempt has not committed; readers and VACUUM pass over it
    <uri>/_receipts/<uid>.json                     the receipt of a job's commit

The log is read and written by ourselves, through the project's own stores: their credentials, retries and errors hold
here too, on every kind of store, and no release's image needs another library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.api.status import OutputStatus
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import dtypes
from gpuquery.runner.output import expect, hive
from gpuquery.runner.output.record import owner_of, parse_part
from gpuquery.runner.output.tables.base import Asked, Committed, Layout, Live
from gpuquery.runner.output.tables.complete import Complete, Mark
from gpuquery.runner.output.tables.delta import modes, statistics, values
from gpuquery.runner.output.tables.delta.commit import Committer, Wanted
from gpuquery.runner.output.tables.delta.lines import BELOW
from gpuquery.runner.output.tables.delta.place import Target
from gpuquery.runner.output.tables.delta.state import State
from gpuquery.runner.output.tables.delta.where import Where
from gpuquery.runner.stores.base import COMMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import polars as pl

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.output.modes import Result
    from gpuquery.runner.output.tables.delta.commit import Outcome
    from gpuquery.runner.output.tables.delta.schema import Fit
    from gpuquery.runner.stores.base import Store

__all__ = ["Delta"]


class Delta(Complete):
    """A Delta table."""

    below = BELOW
    statistics = statistics.MOST

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self._output = asked.plan.output
        self._target = Target(self.root, asked.plan.store, self.store)
        wanted = Wanted(_mode(asked.plan), self._output.partition_by, self._output.widens, asked.plan.now)
        self._committer = Committer(self._target, asked.job, self._attempt, wanted, before=self._check_stop)
        self._loaded = False
        self._fit: Fit | None = None

    def open(self) -> tuple[Store, Store]:
        """Open the folder; asks nothing of the store."""
        asked, uri = self._asked, self.root
        return stores.of(uri).table(stores.locate(uri), asked.plan.store, staging=asked.staging, stop=asked.stop)

    @property
    def where(self) -> str:
        """The table's root."""
        return self.root

    @property
    def root(self) -> str:
        """The table's root."""
        return (self._asked.plan.output.uri or "").rstrip("/")

    @property
    def places(self) -> Sequence[str]:
        """The table's root."""
        return (self.root,)

    def find(self) -> Mark | None:
        """Read the log, and look for the job's application transaction."""
        found = self._committer.recover()
        self._loaded = True
        return None if found is None else Mark(self._status(found))

    def check_right(self) -> None:
        """Raise WorkerLost if the permit is taken, UnsafeStore if something is in the way of what will be written."""
        super().check_right()
        self.hurried.check_free(self._committer.state.next_key)

    def check_mode(self) -> None:
        """Raise OutputExists or UserError where this job may not commit to what is there."""
        if self._committer.state.snapshot is None and next(iter(self.hurried.list(COMMITS)), None) is not None:
            raise self._target.refused(
                f"there is no Delta table, but hive folders with a log of their own ({COMMITS}): use another "
                "output.uri, or leave out output.delta"
            )
        self._committer.check_mode()

    def fit(self, schema: pl.Schema) -> Layout:
        """Bring the result to the table's columns, in their order and with their types."""
        keys = self._output.partition_by
        hive.check_schema(schema, keys)
        if not self._loaded:
            self._committer.recover()
            self._loaded = True
        self._fit = self._committer.fit(schema)
        if list(self._fit.casts.items()) == list(schema.items()):
            return Layout(keys=keys)
        select = [dtypes.column(name).cast(dtype) for name, dtype in self._fit.casts.items()]
        return Layout(select=select, keys=keys)

    def values(self, keys: pl.DataFrame) -> Mapping[str, str | None]:
        """Give the values of one partition as the log writes them."""
        found = {}
        for name, value in hive.partition_values(keys).items():
            try:
                found[name] = values.text(value, keys.schema[name])
            except values.UnwritableError as exc:
                raise self._target.refused(f"the partition column {name!r}: {exc}") from None
        return found

    def path(self, values: Mapping[str, str | None], name: str) -> str:
        """Put a file into the folder of its partition, as readers of plain files expect it."""
        return hive.folder(values) + name

    def publish(self, result: Result) -> Mark:
        """Commit files under the job's application transaction."""
        assert self._fit is not None
        self.certain = False
        try:
            found = self._committer.commit(self._fit, result.files, expect.shown(result.expectations))
        finally:
            self.certain = self._committer.certain
        mine = {BELOW + file.path for file in result.files}
        return Mark(self._status(found), mine=bool(mine) and found.paths == mine)

    def commit(self, result: Result) -> Committed:
        """Commit as any table, and write a checkpoint now and then."""
        done = super().commit(result)
        self._committer.state.checkpoint()
        return done

    def live(self) -> Live | None:
        """Return the newest version, if one job of ours has made all of it and its files are all there."""
        if (newest := self._committer.newest()) is None:
            return None
        job, created, found = newest
        there = {item.key for item in self.hurried.list(BELOW)}
        return Live(job, created, self._status(found)) if found.paths <= there else None

    def committed_by(self, uid: str) -> int | None:
        """Whether any job with this UID has committed; which attempt it was, nobody has to know."""
        state = State(self._target)
        state.load()
        return 0 if state.apps(lambda app: app.endswith(f"/{uid}")) else None

    def files_of(self, uid: str, attempt: int) -> Iterable[str]:
        """List the data files of all jobs, and choose."""
        mark = (owner_of(uid), attempt)
        return [item.key for item in self.store.list(BELOW) if parse_part(item.key) == mark]

    def unnamed(self, keys: Sequence[str]) -> Sequence[str]:
        """Look for the files in the newest version, and in the commits of the jobs that have made them.

        A file that was replaced since stays: earlier versions name it.
        """
        state = State(self._target)
        state.load()
        owners = {found[0] for key in keys if (found := parse_part(key)) is not None}
        named = state.paths()
        for app in state.apps(lambda app: owner_of(app.rpartition("/")[2]) in owners):
            commit = state.commit_of(app)
            if not commit.known:
                return ()
            named |= commit.paths
        return [key for key in keys if key not in named]

    def _status(self, found: Outcome) -> OutputStatus:
        return OutputStatus(
            uri=self._output.published,
            version=found.version,
            files=found.files,
            rows=found.rows,
            bytes=found.bytes,
            partitions=found.partitions,
            expectations=found.expectations,
        )

    def _check_stop(self) -> None:
        if self._asked.stop.is_set():
            raise JobError(Failure.WORKER_LOST, "the attempt was told to stop before it committed")


def _mode(plan: Plan) -> modes.Mode:
    if plan.output.overwrite_where is not None:
        return modes.OverwriteWhere(Where(plan, plan.output.overwrite_where))
    made: Mapping[OutputMode, Callable[[], modes.Mode]] = {
        OutputMode.ERROR_IF_EXISTS: modes.ErrorIfExists,
        OutputMode.APPEND: modes.Append,
        OutputMode.OVERWRITE: modes.Overwrite,
        OutputMode.OVERWRITE_PARTITIONS: modes.OverwritePartitions,
    }
    return made[plan.output.mode]()
