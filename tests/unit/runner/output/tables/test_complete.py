"""Tables whose metadata names their files: one commit for a job whatever dies, races or is repeated, and no file too
few or too many.

Of every attempt each call of store and catalog is disturbed once, from the first lease to the last report.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import sweep as sweeping
from gpuquery.runner.output.modes import Result
from gpuquery.runner.output.record import StagedFile, owner_of, part_name
from gpuquery.runner.output.sweep import lease_key
from gpuquery.runner.output.tables import abandoned
from gpuquery.runner.output.tables.base import Asked, Identity
from gpuquery.runner.stores.base import checked
from tests.support.examples import examples
from tests.support.fake_table import FakeTable, Happening, commits, die, fail, rank, run, sink, tried
from tests.support.memory_store import Actor, Content, MemoryStore, play
from tests.support.sinks import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.plan.plan import Plan
    from gpuquery.runner.output.sink import Sink

ROWS = pl.LazyFrame({"k": ["a", "b", None], "v": [1, 2, 3]})
WHEN = ("before", "after")
CALLS = 40
"""More than an undisturbed attempt makes, see the first test."""


def made(**output: object) -> Plan:
    return plan("s3://bucket/table", **{"partition_by": ("k",), "mode": "append", **output})


def check_whole(content: Content, jobs: int = 1) -> None:
    """Each job has one commit, and the files of the table are those that the commits name, with their rows."""
    found = commits(content)
    named = [file for one in found for file in one.files]
    assert len({one.uid for one in found}) == len(found) == jobs
    assert set(named) <= content.data() and len(set(named)) == len(named)
    rows = [pl.read_parquet(content.objects["data/" + file]).height for file in named]
    assert sum(rows) == sum(one.rows for one in found) == 3 * jobs


def check_tidy(content: Content) -> None:
    """Nothing lies about that the table does not name."""
    assert content.data() == {file for one in commits(content) for file in one.files}
    assert not content.uploads and not [key for key in content.objects if key.startswith("_staging/")]


def test_an_attempt_that_nothing_disturbs_commits_once_and_leaves_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    content, counting = Content(), Happening()
    status = run(sink(content, made(), 1, counting, monkeypatch), ROWS)
    assert (status.rows, status.files) == (3, 3)
    check_whole(content)
    check_tidy(content)
    assert counting.calls <= CALLS


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("at", range(CALLS))
def test_wherever_a_process_dies_the_next_attempt_commits_or_finds_the_commit(
    monkeypatch: pytest.MonkeyPatch, at: int, when: str
) -> None:
    content, job = Content(), made()
    tried(sink(content, job, 1, die(at, when), monkeypatch), ROWS)
    status = run(sink(content, job, 2, lambda _: None, monkeypatch), ROWS)
    assert status.rows == 3
    check_whole(content)
    check_tidy(content)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("at", range(CALLS))
def test_wherever_a_call_fails_or_its_answer_is_lost_the_next_attempt_commits_or_finds_the_commit(
    monkeypatch: pytest.MonkeyPatch, at: int, when: str
) -> None:
    content, job = Content(), made()
    failed = tried(sink(content, job, 1, fail(at, when), monkeypatch), ROWS)
    if failed is None:
        check_whole(content)
    assert failed is None or failed.failure is Failure.STORAGE_UNAVAILABLE
    run(sink(content, job, 2, lambda _: None, monkeypatch), ROWS)
    check_whole(content)
    check_tidy(content)


@pytest.mark.parametrize("at", range(CALLS))
def test_an_attempt_that_was_taken_for_dead_wakes_up_and_adds_nothing(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """The second attempt runs to its end while the first one sleeps before one of its calls."""
    content, job = Content(), made()

    def second() -> None:
        run(sink(content, job, 2, lambda _: None, monkeypatch), ROWS)
        check_whole(content)

    first = sink(content, job, 1, Happening(at, "before", second), monkeypatch)
    failed = tried(first, ROWS)
    assert failed is None or (failed.failure, "given up for dead" in failed.message) == (Failure.WORKER_LOST, True)
    check_whole(content)


@pytest.mark.parametrize("at", range(CALLS))
def test_two_processes_of_one_attempt_commit_once_between_them(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    content, job = Content(), made()

    def double() -> None:
        tried(sink(content, job, 1, lambda _: None, monkeypatch), ROWS)  # refused if the first has the permit

    first = sink(content, job, 1, Happening(at, "before", double), monkeypatch)
    failed = tried(first, ROWS)
    assert failed is None or (failed.failure, "another process" in failed.message) == (Failure.WORKER_LOST, True)
    check_whole(content)


@pytest.mark.parametrize("at", range(CALLS))
def test_an_attempt_whose_files_were_removed_never_commits_them(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """The second attempt sweeps, writes and dies before it commits, while the first one sleeps before a call."""
    content, job = Content(), made()

    def second() -> None:
        one = sink(content, job, 2, lambda _: None, monkeypatch)
        if one.preflight() is None:
            one.write(ROWS)

    failed = tried(sink(content, job, 1, Happening(at, "before", second), monkeypatch), ROWS)
    assert failed is None or (failed.failure, "given up for dead" in failed.message) == (Failure.WORKER_LOST, True)
    if commits(content):
        check_whole(content)
    run(sink(content, job, 3, lambda _: None, monkeypatch), ROWS)
    check_whole(content)


def test_a_process_that_finds_the_commit_of_its_double_removes_its_own_files(monkeypatch: pytest.MonkeyPatch) -> None:
    content, job = Content(), made()
    slow = sink(content, job, 1, lambda _: None, monkeypatch)
    slow.preflight()
    slow.write(ROWS)
    run(sink(content, job, 1, lambda _: None, monkeypatch), ROWS)
    assert len(content.data()) == 6, "no file of one has the name of a file of the other"
    assert slow.commit().rows == 3
    check_whole(content)
    check_tidy(content)


def test_an_abort_keeps_files_that_another_process_may_be_committing(monkeypatch: pytest.MonkeyPatch) -> None:
    content, job = Content(), made()
    one = sink(content, job, 1, lambda _: None, monkeypatch)
    one.write(ROWS)
    content.objects[f"_staging/{job.job.uid}/1/permit"] = b"commit 0123456789abcdef"
    one.abort()
    assert len(content.data()) == 3


def test_a_refused_commit_removes_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    content = Content()
    one = sink(content, made(mode="errorIfExists"), 1, lambda _: None, monkeypatch)
    assert one.preflight() is None
    one.write(ROWS)
    run(sink(content, made(), 1, lambda _: None, monkeypatch), ROWS)
    with pytest.raises(JobError, match="the table has commits already"):
        one.commit()
    assert len(content.data()) == 6
    one.abort()
    check_whole(content)
    assert len(content.data()) == 3


def test_a_result_without_rows_is_a_commit_without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    content = Content()
    status = run(sink(content, made(), 1, lambda _: None, monkeypatch), ROWS.filter(pl.lit(False)))
    assert (status.rows, status.files, len(commits(content))) == (0, 0, 1)
    check_tidy(content)


def test_an_abort_in_the_middle_removes_what_is_complete_already(monkeypatch: pytest.MonkeyPatch) -> None:
    content = Content()
    one = sink(content, made(), 1, lambda _: None, monkeypatch)
    one.write(ROWS)
    assert len(content.data()) == 3
    one.abort()
    assert not content.data() and not content.uploads
    assert [body for key, body in content.objects.items() if key.endswith("/permit")] == [b"void"]


def test_an_abort_before_anything_was_written_voids_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preflight has the number of the attempt that follows."""
    content, job = Content(), made()
    one = sink(content, job, 1, lambda _: None, monkeypatch)
    one.preflight()
    one.check_schema(ROWS.collect_schema())
    one.abort()
    assert run(sink(content, job, 1, lambda _: None, monkeypatch), ROWS).rows == 3
    check_whole(content)
    check_tidy(content)


@pytest.mark.parametrize("at", range(0, CALLS, 3))
def test_what_a_stranger_has_left_is_removed_after_a_day_and_its_commit_is_kept(
    monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    content, stranger = Content(), made()
    tried(sink(content, stranger, 1, die(at, "after"), monkeypatch), ROWS)
    before, done = content.data(), len(commits(content))
    run(sink(content, made(), 1, lambda _: None, monkeypatch), ROWS)
    assert before <= content.data(), "a day has not passed"
    monkeypatch.setattr(abandoned, "STALE_SECONDS", -1)
    run(sink(content, made(), 1, lambda _: None, monkeypatch), ROWS)
    check_whole(content, jobs=done + 2)
    permits = [body for key, body in content.objects.items() if key.endswith("/permit") and stranger.job.uid in key]
    if not any(body.startswith(b"commit") for body in permits):  # who has it may be committing
        assert content.data() == {file for one in commits(content) for file in one.files}


def test_a_commit_does_not_hide_what_a_stranger_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day passes between the preflight of a job and its commit, which deletes the lists of inputs of dead jobs."""
    content, stranger = Content(), made()
    one = sink(content, stranger, 1, lambda _: None, monkeypatch)
    one.leave("inputs")
    one.write(ROWS)
    monkeypatch.setattr(sweeping, "STALE_SECONDS", -1)
    run(sink(content, made(), 1, lambda _: None, monkeypatch), ROWS)
    assert {key.rpartition("/")[2] for key in content.objects if stranger.job.uid in key} == {"rank-00000.lease"}
    monkeypatch.setattr(abandoned, "STALE_SECONDS", -1)
    run(sink(content, made(), 1, lambda _: None, monkeypatch), ROWS)
    check_whole(content, jobs=2)
    assert content.data() == {file for one in commits(content) for file in one.files}


@pytest.mark.parametrize("key", ["../1/x", "./1/x", "u/1/../../../data/x", "u/1//x", "u/0/x", "u/1", "/1/x", "ü/1/x"])
def test_strange_things_in_the_folder_of_the_staged_keep_no_job_from_committing(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    class Wary(MemoryStore):
        def create(self, key: str, body: bytes) -> bool:
            return super().create(checked(key), body)

        def delete(self, keys: Sequence[str]) -> None:
            super().delete([checked(key) for key in keys])

    content = Content({f"_staging/{key}": b"x"})
    monkeypatch.setattr(abandoned, "STALE_SECONDS", -1)
    monkeypatch.setattr(sweeping, "STALE_SECONDS", -1)
    monkeypatch.setattr("tests.support.fake_table.MemoryStore", Wary)
    run(sink(content, made(), 1, lambda _: None, monkeypatch), ROWS)
    check_whole(content)


def test_a_forged_permit_removes_no_file_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    content, victim = Content(), made()
    run(sink(content, victim, 1, lambda _: None, monkeypatch), ROWS)
    content.objects[f"_staging/{victim.job.uid}/1/permit"] = b"void"
    content.objects[f"_staging/{victim.job.uid}/1/rank-00000.lease"] = b""
    monkeypatch.setattr(abandoned, "STALE_SECONDS", -1)
    run(sink(content, made(), 1, lambda _: None, monkeypatch), ROWS)
    check_whole(content, jobs=2)


def ranks(content: Content, job: Plan, patch: pytest.MonkeyPatch) -> list[Sink]:
    """Three ranks of one attempt, that have all written."""
    made = [rank(content, job, Identity(job.job.uid, 1, one, 3), patch) for one in range(3)]
    assert made[0].preflight() is None
    for one in made:
        one.check_schema(ROWS.collect_schema())
        one.write(ROWS)
    return made


def test_what_all_ranks_have_written_is_one_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    content = Content()
    made_ = ranks(content, made(), monkeypatch)
    totals = [one.seal() for one in made_]
    made_[1].abort()  # too late: it has handed over
    assert made_[0].commit(totals).rows == 9
    assert len(content.data()) == 9
    check_tidy(content)


def test_a_rank_that_fails_removes_its_own_files_and_ends_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    content, job = Content(), made()
    first, second, third = ranks(content, job, monkeypatch)
    told = [first.seal(), second.seal()]
    third.abort()
    assert len(content.data()) == 6
    with pytest.raises(JobError, match="rank 2 has written no pending set"):
        first.commit([*told, told[0]])
    first.abort()
    run(sink(content, job, 2, lambda _: None, monkeypatch), ROWS)
    check_whole(content)
    check_tidy(content)


def test_a_result_that_is_not_as_expected_leaves_no_file_of_any_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    content = Content()
    made_ = ranks(content, made(expect=[{"unique": ["v"]}]), monkeypatch)
    totals = [one.seal() for one in made_]
    with pytest.raises(JobError) as caught:
        made_[0].judge(totals)
    assert caught.value.failure is Failure.EXPECTATION_FAILED
    made_[0].abort()
    assert not content.data() and not commits(content)


def test_the_pending_sets_are_fetched_once_also_with_expectations(monkeypatch: pytest.MonkeyPatch) -> None:
    content, asked = Content(), []
    made_ = ranks(content, made(expect=[{"rows": ">= 1"}]), monkeypatch)
    totals = [one.seal() for one in made_]
    get = MemoryStore.get
    monkeypatch.setattr(MemoryStore, "get", lambda self, key: asked.append(key) or get(self, key))
    made_[0].judge(totals)
    made_[0].commit(totals)
    assert [key.rpartition("/")[2] for key in asked if key.endswith(".json")] == ["rank-00001.json", "rank-00002.json"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        pytest.param("path", "part-00000000-1-00001-00000.parquet", "a file of attempt 1", id="another job's file"),
        pytest.param("path", "../part-{owner}-1-00001-00000.parquet", "must be a path", id="a file outside"),
        pytest.param("uploadId", "upload-1", "empty: the object is complete", id="an upload"),
        pytest.param("pieces", ["1"], "empty: the object is complete", id="pieces"),
        pytest.param("statistics", [{"path": [], "kind": "text", "values": 1, "bytes": 1}], "statistics", id="no path"),
        pytest.param(
            "statistics", [{"path": ["v"], "kind": "text", "values": -1, "bytes": 1}], "statistics", id="a sum"
        ),
    ],
)
def test_a_forged_pending_set_is_refused(
    monkeypatch: pytest.MonkeyPatch, field: str, value: object, words: str
) -> None:
    content, job = Content(), made()
    made_ = ranks(content, job, monkeypatch)
    totals = [one.seal() for one in made_]
    key = f"_staging/{job.job.uid}/1/rank-00001.json"
    pending = json.loads(content.objects[key])
    owner = owner_of(job.job.uid)
    pending["files"][0][field] = value.format(owner=owner) if isinstance(value, str) else value
    content.objects[key] = json.dumps(pending).encode()
    with pytest.raises(JobError, match=words) as caught:
        made_[0].commit(totals)
    assert caught.value.failure is Failure.UNSAFE_STORE and not commits(content)


def attempt(job: Plan, number: int) -> Callable[[MemoryStore], None]:
    """One attempt, call by call in one thread: without Polars, and without the threads of the uploads."""

    def work(store: MemoryStore) -> None:
        asked = Asked(job, Identity(job.job.uid, number))
        table = FakeTable(asked, store)
        if table.recover() is not None:
            return
        table.check_right()
        table.sweep()
        store.put(lease_key(job.job.uid, number, 0), b"")
        name = part_name(job.job.uid, number, 0, 0, f"{id(table) % 2**32:08x}")
        store.put("data/" + name, b"3 rows")
        table.drop(store, table.commit(Result([StagedFile(path=name, bytes=6, rows=3)], ())).unused)  # type: ignore[arg-type]

    return work


CRASHES = st.sampled_from(["", "", "", "", "before", "after"])


SCHEDULES = st.lists(st.tuples(st.integers(0, 3), CRASHES), max_size=80)
RACERS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=2, max_size=4)
"""Which job, and which attempt of it."""


def race(racers: list[tuple[int, int]], schedule: list[tuple[int, str]]) -> None:
    """Run attempts in an order, some of which die, with every stranger taken for dead; then one more of each job."""
    content, jobs = Content(), [made() for _ in range(4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(abandoned, "STALE_SECONDS", -1)
        actors = [Actor(content, attempt(jobs[job], number)) for job, number in racers]
        play(actors, schedule)
        for actor in actors:
            assert actor.error is None or isinstance(actor.error, JobError), actor.error
        for job in {job for job, _ in racers}:
            attempt(jobs[job], 9)(MemoryStore(content))
    found = commits(content)
    assert len({one.uid for one in found}) == len(found) == len({job for job, _ in racers})
    assert {file for one in found for file in one.files} <= content.data()


@examples(400)
@given(racers=RACERS, schedule=SCHEDULES)
def test_any_interleaving_of_any_attempts_of_any_jobs_commits_each_job_once_and_loses_no_file(
    racers: list[tuple[int, int]], schedule: list[tuple[int, str]]
) -> None:
    race(racers, schedule)


@examples(200)
@given(numbers=st.lists(st.integers(1, 4), min_size=4, max_size=4), schedule=SCHEDULES)
def test_four_committers_of_one_job_commit_once(numbers: list[int], schedule: list[tuple[int, str]]) -> None:
    race([(0, number) for number in numbers], schedule)


@examples(200)
@given(schedule=SCHEDULES)
def test_four_committers_of_four_jobs_commit_once_each(schedule: list[tuple[int, str]]) -> None:
    race([(job, 1) for job in range(4)], schedule)


@pytest.mark.faults
@pytest.mark.timeout(900)
@settings(max_examples=10_000)
@given(racers=RACERS, schedule=SCHEDULES)
def test_ten_thousand_schedules_of_races_and_deaths(
    racers: list[tuple[int, int]], schedule: list[tuple[int, str]]
) -> None:
    race(racers, schedule)
