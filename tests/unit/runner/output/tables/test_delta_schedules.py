"""Attempts of several jobs on one Delta table, in any order of their calls; any may die at any call.

The log is read by a few lines of this file, not by the runner.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.modes import Result
from gpuquery.runner.output.record import StagedFile, part_name
from gpuquery.runner.output.sweep import lease_key
from gpuquery.runner.output.tables.base import Asked, Identity
from gpuquery.runner.output.tables.delta import Delta, commit
from tests.support import sinks
from tests.support.memory_store import Actor, Content, MemoryStore, play

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.stores.base import Store

UIDS = ("11111111-0000-4000-8000-000000000000", "22222222-0000-4000-8000-000000000000")
SCHEMA = pl.Schema({"k": pl.String(), "v": pl.Int64()})
STEPS = st.tuples(st.integers(0, 7), st.sampled_from(["", "", "", "", "", "before", "after"]))
MODES = st.sampled_from(["append", "overwrite", "overwritePartitions"])


class InMemory(Delta):
    """A Delta table in a store in memory."""

    def __init__(self, asked: Asked, memory: Any) -> None:
        self._memory = memory
        super().__init__(asked)

    def open(self) -> tuple[Store, Store]:
        return self._memory, self._memory


@dataclass(frozen=True)
class Try:
    """One attempt of one job, in the order of calls of the sink."""

    job: int
    number: int
    mode: str

    def run(self, store: Any) -> None:
        uid = UIDS[self.job]
        made = sinks.plan("file:///t", uid=uid, delta={}, mode=self.mode, partition_by=["k"])
        table = InMemory(Asked(made, Identity(uid, self.number)), store)
        try:
            if table.recover() is None:
                table.check_right()
                table.sweep()
                table.check_mode()
                self._write(table, store)
        except JobError as exc:
            if exc.failure is not Failure.WORKER_LOST:
                raise

    def _write(self, table: InMemory, store: Any) -> None:
        uid = UIDS[self.job]
        table.fit(SCHEMA)
        store.put(lease_key(uid, self.number, 0), b"")
        files = []
        for number, key in enumerate(("shared", f"own-{self.job}")):
            path = table.path({"k": key}, part_name(uid, self.number, 0, number, f"{id(table) & 0xFFFFFFFF:08x}"))
            store.put(table.below + path, b"x")
            files.append(StagedFile(path=path, bytes=1, rows=1 + number, values={"k": key}))
        done = table.commit(Result(files, (), ("k",)))
        table.drop(store, done.unused)


def log(content: Content) -> list[list[dict[str, Any]]]:
    """All versions with their actions."""
    found: list[list[dict[str, Any]]] = []
    while (body := content.objects.get(f"_delta_log/{len(found):020d}.json")) is not None:
        found.append([json.loads(line) for line in body.splitlines()])
    assert len(found) == sum(key.startswith("_delta_log/") for key in content.objects)
    return found


def live(versions: Sequence[Sequence[dict[str, Any]]]) -> dict[str, str]:
    """The files of the table, each with its partition."""
    found: dict[str, str] = {}
    for actions in versions:
        for one in actions:
            if "remove" in one:
                assert found.pop(one["remove"]["path"], None), "a file is removed that is not there"
            if "add" in one:
                assert one["add"]["path"] not in found
                found[one["add"]["path"]] = one["add"]["partitionValues"]["k"]
    return found


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit.time, "sleep", lambda _: None)


def played(tries: Sequence[Try], schedule: Sequence[tuple[int, str]]) -> None:
    content = Content()
    actors = [Actor(content, one.run) for one in tries]
    play(actors, schedule)
    last = {one.job: one.mode for one in tries}
    for job, mode in last.items():
        Try(job, 9, mode).run(MemoryStore(content))
    assert [actor.error for actor in actors if actor.error] == []
    versions = log(content)
    commits = [one["txn"]["appId"] for actions in versions for one in actions if "txn" in one]
    assert Counter(commits) == {f"gpuquery/ns/job/{UIDS[job]}": 1 for job in last}
    for actions in versions:  # no file that any version names was removed
        for one in actions:
            assert "add" not in one or one["add"]["path"] in content.objects
    named = {one["add"]["path"] for actions in versions for one in actions if "add" in one}
    newest = {one["txn"]["appId"]: number for number, a in enumerate(versions) for one in a if "txn" in one}
    assert len(newest) == len(versions)
    partitions = Counter(live(versions).values())
    assert set(live(versions)) <= named
    assert max(partitions.values()) <= len(last)
    assert not [key for key in content.objects if key.startswith("_staging/") and "/permit" not in key]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    tries=st.lists(st.builds(Try, st.integers(0, 1), st.integers(1, 3), MODES), min_size=1, max_size=4),
    schedule=st.lists(STEPS, max_size=160),
)
def test_each_job_commits_once_in_any_schedule(tries: list[Try], schedule: list[tuple[int, str]]) -> None:
    modes: dict[int, str] = {}
    same = [Try(one.job, one.number, modes.setdefault(one.job, one.mode)) for one in tries]
    played(same, schedule)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(schedule=st.lists(st.tuples(st.integers(0, 1), st.just("")), max_size=120), mode=MODES)
def test_of_two_jobs_at_one_time_the_later_commit_sees_the_earlier(schedule: list[tuple[int, str]], mode: str) -> None:
    content = Content()
    play([Actor(content, Try(job, 1, mode).run) for job in (0, 1)], schedule)
    versions = log(content)
    assert len(versions) == 2
    second = 0 if UIDS[0] in json.dumps(versions[1]) else 1
    want = {
        "append": {"shared": 2, "own-0": 1, "own-1": 1},
        "overwrite": {"shared": 1, f"own-{second}": 1},
        "overwritePartitions": {"shared": 1, "own-0": 1, "own-1": 1},
    }
    assert Counter(live(versions).values()) == want[mode]
