"""The commit to a Delta table: one conditional write of the next entry of its log decides.

    read the log -> ours already? -> build the next version -> create it, if nobody has -> else read on, and again

The job's UID stands in the entry as an application transaction, so whoever reads the log knows whether the job has
committed: the attempt itself before each try, and after an answer that was lost; and the next attempt.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.api.status import MAX_EXPECTATIONS_SHOWN
from gpuquery.api.text import clean
from gpuquery.plan.plan import JobRef
from gpuquery.runner.inputs.tables.delta import log
from gpuquery.runner.output.tables.delta import features, lines, schema, statistics, types
from gpuquery.runner.output.tables.delta.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from gpuquery.runner.inputs.tables.delta.actions import Added, Snapshot
    from gpuquery.runner.output.record import StagedFile
    from gpuquery.runner.output.tables.delta.modes import Mode
    from gpuquery.runner.output.tables.delta.place import Target
    from gpuquery.runner.output.tables.delta.state import Commit

PATIENCE = 60.0
"""Seconds within which an entry that is there must be read, even over NFS."""


@dataclass(frozen=True)
class Wanted:
    """What the job asks of its table."""

    mode: Mode
    partition_by: tuple[str, ...] = ()
    widen: bool = False
    """output.schemaEvolution."""
    created: datetime | None = None
    """When the job was created."""


@dataclass(frozen=True)
class Outcome:
    """The job's commit, by what stands in the log."""

    version: int
    files: int
    rows: int
    bytes: int
    partitions: int
    paths: frozenset[str]
    """Paths of its files, relative to the table."""
    expectations: str = ""
    """Those that were checked and hold, in a few words."""


class Committer:
    """Commits one attempt of one job to one table. Not for use from several threads."""

    def __init__(
        self, target: Target, job: JobRef, attempt: int, wanted: Wanted, *, before: Callable[[], None] = lambda: None
    ) -> None:
        """`before` is called before each try, and raises if this attempt may not commit any more."""
        self._target = target
        self._job = job
        self._attempt = attempt
        self._wanted = wanted
        self._before = before
        self._app = lines.app_id(job)
        self.state = State(target)
        self.certain = True
        """Whether it is certain that this committer has written no entry of the log."""

    def recover(self) -> Outcome | None:
        """Return this job's commit, if it has one. Reads the log anew."""
        self.state.load()
        return self._found()

    def check_mode(self) -> None:
        """Raise OutputExists or UserError where this job may not commit to what is there."""
        snapshot = self.state.snapshot
        if snapshot is None:
            return
        self._check_table(snapshot)
        layout = schema.of_table(self._target, snapshot)
        self._wanted.mode.check(self._target, snapshot, layout)
        schema.check_partitions(self._target, layout, self._wanted.partition_by)

    def fit(self, result: pl.Schema) -> schema.Fit:
        """Return how a result becomes the table's columns, as the table is now. Raises UserError if it cannot."""
        snapshot = self.state.snapshot
        if snapshot is None:
            made = schema.new(self._target, result, self._wanted.partition_by)
        else:
            layout = schema.of_table(self._target, snapshot)
            schema.check_partitions(self._target, layout, self._wanted.partition_by)
            made = schema.fitted(self._target, layout, result, widen=self._wanted.widen)
            self._check_zones(snapshot, made)
        self._wanted.mode.check(self._target, snapshot, made.layout)
        return made

    def commit(self, fit: schema.Fit, files: Sequence[StagedFile], expectations: str = "") -> Outcome:
        """Commit files that were written for a fit, exactly once for the job, also if others try at the same time.

        `recover` was called right before.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            if (found := self._found()) is not None:
                return found
            body = self._entry(fit, [file for file in files if file.rows], expectations)
            self._before()
            version, self.certain = self.state.next_version, False
            self.state.commit(body)
            if self.state.next_version > version:
                deadline = time.monotonic() + PATIENCE
                self.certain = not self.state.has(self._app)
            elif time.monotonic() > deadline:
                raise self._target.refused(f"{self.state.next_key} is there, and cannot be read", Failure.UNSAFE_STORE)
            if not self.state.has(self._app):
                time.sleep(random.random() * 0.05)  # noqa: S311

    def _found(self) -> Outcome | None:
        if not self.state.has(self._app):
            return None
        return outcome(self.state.commit_of(self._app))

    def newest(self) -> tuple[JobRef, datetime, Outcome] | None:
        """Return the job that made the table what it is now, when, and its commit. Reads the log anew.

        None if the newest commit is none of ours, or has left rows of others.
        """
        self.state.load()
        snapshot = self.state.snapshot
        key = "" if snapshot is None else log.commit_key(snapshot.version)
        apps = self.state.apps(lambda app: snapshot is not None and snapshot.transactions[app][1] == key)
        names = apps[0].split("/") if len(apps) == 1 else []
        if len(names) != 4:
            return None
        commit = self.state.commit_of(apps[0])
        at = commit.info.get("timestamp")
        if not isinstance(at, int) or not 0 <= at < 1 << 44 or commit.paths != self.state.paths():
            return None
        job = JobRef(namespace=names[1], name=names[2], uid=names[3])
        return job, datetime.fromtimestamp(at / 1000, UTC), outcome(commit)

    def _entry(self, fit: schema.Fit, files: Sequence[StagedFile], expectations: str) -> bytes:
        """Build the next version from what is there now."""
        snapshot, now = self.state.snapshot, time.time_ns() // 1_000_000
        if snapshot is None:
            made = schema.Fit(fit.casts, _fresh(fit), tuple(fit.casts))
            clock, removed = None, list[Any]()
        else:
            self._check_table(snapshot)
            made = self._refit(snapshot, fit)
            clock = max(now, self.state.clock + 1) if features.times_in_commits(snapshot) else None
            removed = self._removed(snapshot, made, files)
        self._wanted.mode.check(self._target, snapshot, made.layout)
        self._check_nulls(made, files)
        commit = lines.Commit(
            self._job, self._attempt, self._wanted.mode.word, files, removed, made.layout, bool(made.added), now,
            expectations,
        )  # fmt: skip
        return lines.body(commit, snapshot, clock)

    def _refit(self, snapshot: Snapshot, fit: schema.Fit) -> schema.Fit:
        """Fit what was written to the table as it is now. Raises UserError if it was changed meanwhile."""
        layout = schema.of_table(self._target, snapshot)
        schema.check_partitions(self._target, layout, self._wanted.partition_by)
        made = schema.fitted(self._target, layout, fit.casts, widen=self._wanted.widen)
        self._check_zones(snapshot, made)
        if changed := [name for name, dtype in made.casts.items() if dtype != fit.casts[name]]:
            raise self._target.refused(
                f"the columns {', '.join(changed[: schema.MAX_SAID])} got another type while the query ran: "
                "run the job anew"
            )
        return made

    def _removed(self, snapshot: Snapshot, fit: schema.Fit, files: Sequence[StagedFile]) -> list[Added]:
        try:
            return self._wanted.mode.removed(snapshot, fit.layout, [file.values for file in files])
        except ValueError as exc:
            raise self._target.refused(
                f"its log has a partition value that its column cannot have ({exc}): write this partition anew"
            ) from None

    def _check_table(self, snapshot: Snapshot) -> None:
        features.check(self._target, snapshot, removes=self._wanted.mode.removes)
        features.check_age(self._target, snapshot, self._wanted.created)

    def _check_zones(self, snapshot: Snapshot, fit: schema.Fit) -> None:
        new = {str(one["name"]): one["type"] for one in fit.layout.fields if one["name"] in fit.added}
        zoneless = [name for name, kind in new.items() if types.NTZ in types.names(kind)]
        if zoneless and not features.has_ntz(snapshot):
            raise self._target.refused(
                f"column {zoneless[0]!r} is a timestamp without a time zone, for which the table needs the feature "
                "timestampNtz: ALTER TABLE ... SET TBLPROPERTIES ('delta.feature.timestampNtz' = 'supported'), or "
                "give it a zone in the query"
            )

    def _check_nulls(self, fit: schema.Fit, files: Sequence[StagedFile]) -> None:
        for name in fit.layout.required:
            for file in files:
                key = name in fit.layout.partition_by
                found = int(file.values.get(name) is None) if key else statistics.nulls(file, name)
                if found != 0:
                    what = "nobody knows whether it has some" if found is None else f"{file.path} has {found}"
                    raise self._target.refused(
                        f"column {name!r} may hold no nulls in the table, and {what}: filter them out in the query"
                    )


def _fresh(fit: schema.Fit) -> schema.Layout:
    """The columns of a new table, where the one that the result was fitted to is gone."""
    fields = tuple(types.field(name, dtype) for name, dtype in fit.casts.items())
    return schema.Layout(fields, dict(fit.casts), fit.layout.partition_by)


def _records(added: dict[str, Any]) -> int:
    try:
        return _count(json.loads(added.get("stats") or "{}").get("numRecords"))
    except (ValueError, AttributeError, TypeError):
        return 0


def _count(told: object) -> int:
    """A number that someone else may have written."""
    return told if isinstance(told, int) and 0 <= told < 1 << 63 else 0


def outcome(commit: Commit) -> Outcome:
    """Return what a commit of the log says of itself."""
    return Outcome(
        commit.version,
        len(commit.added),
        sum(_records(one) for one in commit.added),
        sum(_count(one.get("size")) for one in commit.added),
        len({json.dumps(values, sort_keys=True) for one in commit.added if (values := one.get("partitionValues"))}),
        commit.paths,
        clean(str(commit.info.get("gpuquery.expectations", "")), MAX_EXPECTATIONS_SHOWN),
    )
