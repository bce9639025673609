"""Random jobs of all modes, rollbacks and crashes at every step, against a model that fits on a page.

What the table is, DuckDB and pyarrow say by the pointer, and `open_table` of every version that is whole.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuquery
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import fsck
from gpuquery.runner.output.commit import Step
from gpuquery.runner.output.fsck import Level
from gpuquery.runner.output.log import Log
from gpuquery.runner.output.rollback import rollback
from gpuquery.runner.stores.posix import PosixStore
from tests.support import sinks
from tests.support.examples import examples
from tests.support.pointed import by_duckdb, by_pyarrow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

KEYS = ("a/b", "", "é=%2F", None)
SCHEMA = {"k": pl.String(), "v": pl.Int64()}
ARROW = pa.schema([("k", pa.string()), ("v", pa.int64())])
BARE = "no partition"


class DiedError(Exception):
    """The process was killed."""


@dataclass(frozen=True)
class Job:
    """One job, which may die at a step and may have another attempt then."""

    mode: str
    keys: tuple[str | None, ...]
    die_at: Step | None = None
    retried: bool = True


@dataclass(frozen=True)
class Back:
    """A rollback to a version, counted from the first."""

    to: int
    die_at: Step | None = None


@dataclass
class Model:
    """Which files each version has. A file is its job and its partition; its one row has the job's number."""

    versions: list[frozenset[tuple[int, Any]]] = field(default_factory=list)
    deleted: set[tuple[int, Any]] = field(default_factory=set)

    def commit(self, number: int, job: Job) -> bool:
        """Commit a job; False where its mode forbids that."""
        live = self.versions[-1] if self.versions else frozenset()
        new = frozenset((number, key) for key in job.keys)
        if job.mode == "errorIfExists" and self.versions:
            return False
        if job.mode == "overwrite" or not self.versions:
            self._become(new or frozenset({(number, BARE)}))
        elif not new:
            self._become(live)
        else:
            gone = {BARE, *job.keys} if job.mode == "overwritePartitions" else {BARE}
            self._become(frozenset(file for file in live if file[1] not in gone) | new)
        return True

    def back(self, to: int) -> bool:
        """Go back; False where there is no way, or nowhere to go."""
        if to >= len(self.versions) or not self.whole(to) or self.versions[to] == self.versions[-1]:
            return False
        self._become(self.versions[to])
        return True

    def whole(self, version: int) -> bool:
        return not self.versions[version] & self.deleted

    def rows(self, version: int) -> list[tuple[Any, int]]:
        return in_order((key, number) for number, key in self.versions[version] if key != BARE)

    def _become(self, files: frozenset[tuple[int, Any]]) -> None:
        if self.versions:
            self.deleted |= self.versions[-1] - files
        self.versions.append(files)


def in_order(rows: Any) -> list[tuple[Any, int]]:
    return sorted(((key, int(value)) for key, value in rows), key=lambda row: (row[1], str(row[0])))


def dying(step: Step | None) -> Callable[[Step], None]:
    def hook(now: Step) -> None:
        if now is step:
            raise DiedError

    return hook


def attempt(folder: Path, number: int, job: Job, attempt: int) -> str:
    """Run an attempt; returns how it ended."""
    made = sinks.plan(f"file://{folder}", uid=str(UUID(int=(number + 1) << 96)), mode=job.mode, partitionBy=["k"])
    one = sinks.sink(made, attempt, hook=dying(job.die_at if attempt == 1 else None))
    frame = pl.DataFrame({"k": list(job.keys), "v": [number] * len(job.keys)}, schema=SCHEMA)
    try:
        if one.preflight() is None:
            one.write(frame.lazy())
            one.commit()
    except DiedError:
        return "died"
    except JobError as exc:
        one.abort()
        return "refused" if exc.failure is Failure.OUTPUT_EXISTS else str(exc)
    return "done"


def do(folder: Path, model: Model, number: int, what: Job | Back) -> None:
    """Do it to the folder and to the model."""
    if isinstance(what, Back):
        found = versions(folder)
        before = found[what.to] if what.to < len(found) else 10**6
        try:
            rollback(store(folder), before, dying(what.die_at))
            ended = "done"
        except DiedError:
            ended = "died"
        except JobError as exc:
            ended = "refused" if exc.failure is Failure.INVALID_PLAN else str(exc)
        if ended != "died" or len(versions(folder)) > len(model.versions):
            assert ended in (("done", "died") if model.back(what.to) else ("refused",))
        return
    ended = attempt(folder, number, what, 1)
    if ended == "died" and what.retried:
        ended = attempt(folder, number, what, 2)
    # Who dies while it publishes what was there has not committed.
    if ended != "died" or len(versions(folder)) > len(model.versions):
        assert ended in (("done", "died") if model.commit(number, what) else ("refused",))


def store(folder: Path) -> PosixStore:
    return PosixStore(str(folder), "_staging/fsck/1")


def versions(folder: Path) -> Sequence[int]:
    """The numbers of the versions: those of fences are left out."""
    log = Log(store(folder))
    log.refresh()
    return [entry.version for entry in log.tables()]


def check_pointer(folder: Path, model: Model) -> None:
    """It names one version, the last or, while that is not published, the one before, with just its rows."""
    if not (folder / "_current.json").exists():
        assert len(model.versions) <= 1
        return
    told = versions(folder).index(json.loads((folder / "_current.json").read_text())["version"])
    assert told >= len(model.versions) - 2
    assert in_order(rows_of(folder)) == model.rows(told)


def rows_of(folder: Path) -> Collection[tuple[Any, int]]:
    table = by_pyarrow(folder, ARROW)
    return list(zip(table["k"].to_pylist(), table["v"].to_pylist(), strict=True))


MODES = ("append", "overwrite", "overwritePartitions", "errorIfExists")
KEYSETS = ((), ("a/b",), ("", None), ("a/b", "é=%2F", None))
DEATHS = st.one_of(st.none(), st.sampled_from(list(Step)))
JOBS = st.builds(Job, st.sampled_from(MODES), st.sampled_from(KEYSETS), DEATHS, st.sampled_from([False, False, True]))
BACKS = st.builds(Back, st.integers(0, 5), DEATHS)
STEPS = st.lists(st.one_of(JOBS, JOBS, JOBS, BACKS), min_size=3, max_size=7)


@examples(80)
@given(STEPS)
def test_a_table_is_what_its_jobs_have_made_of_it_whatever_dies(steps: Sequence[Job | Back]) -> None:
    played(steps)


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize("what", [*MODES[:3], "rollback"])
def test_whatever_dies_at_any_step_leaves_one_version_that_the_next_job_finishes(what: str, step: Step) -> None:
    before = [Job("append", ("a/b", None)), Job("append", ("a/b", ""))]
    died = Back(0, step) if what == "rollback" else Job(what, ("a/b",), step, retried=False)
    played([*before, died, Job("append", ("a/b",)), Back(2)])


def played(steps: Sequence[Job | Back]) -> None:
    """Do the steps one after the other, and look at the table after each and at the end."""
    model = Model()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number, what in enumerate(steps):
            do(folder, model, number, what)
            check_pointer(folder, model)
        fsck.repair(store(folder))
        assert [one for one in fsck.check(store(folder)).findings if one.level is not Level.NOTE] == []
        if not model.versions:
            return
        want = model.rows(-1)
        assert in_order(rows_of(folder)) == in_order(by_duckdb(folder, "k, v", "v")) == want
        assert in_order(gpuquery.open_table(f"file://{folder}").lazy().collect().rows()) == want
        for at, version in enumerate(versions(folder)):
            if model.whole(at):
                opened = gpuquery.open_table(f"file://{folder}", version)
                assert in_order(opened.lazy().collect().rows()) == model.rows(at)
            else:
                with pytest.raises(JobError, match="is not whole"):
                    gpuquery.open_table(f"file://{folder}", version)
