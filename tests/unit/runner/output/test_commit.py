"""The commit protocol under every interleaving and crash that hypothesis can find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import JobRef
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import commit, log, modes
from gpuquery.runner.output import sweep as sweep_module
from gpuquery.runner.output.commit import Committer, Result
from gpuquery.runner.output.pointer import POINTER, Pointer
from gpuquery.runner.output.record import Column, CommitRecord, PendingSet, StagedFile, part_name
from gpuquery.runner.output.sweep import lease_key, sweep, sweep_finished
from gpuquery.runner.stores.base import Dangling, Piece
from tests.support.examples import examples
from tests.support.memory_store import Actor, Content, MemoryStore, play

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = (Column(name="k", type="String"), Column(name="v", type="Int64"))
SURRENDERS = {Failure.OUTPUT_EXISTS, Failure.WORKER_LOST, Failure.INTERNAL_ERROR}


@dataclass(frozen=True)
class Try:
    """One attempt of one job that writes some files."""

    job: int
    attempt: int = 1
    mode: OutputMode = OutputMode.APPEND
    rows: tuple[int, ...] = (1, 1)

    @property
    def ref(self) -> JobRef:
        return JobRef(namespace="ns", name=f"job-{self.job}", uid=str(UUID(int=(self.job + 1) << 96)))

    def run(self, store: MemoryStore) -> None:
        """Do what the sink does, but for Polars."""
        committer = Committer(store, self.ref, self.attempt, self.mode)
        if committer.recover() is not None:
            sweep_finished(store, self.ref.uid)
            return
        committer.check_fence()
        sweep(store, committer, self.ref, self.attempt)
        committer.check_mode()
        staged: list[StagedFile] = []
        unused: Sequence[StagedFile] = staged
        try:
            for number, rows in enumerate(self.rows):
                staged.append(self._upload(store, number, rows))
            body = PendingSet(files=tuple(staged)).model_dump_json().encode()
            store.put(f"_staging/{self.ref.uid}/{self.attempt}/rank-00000.json", body)
            unused = committer.commit(Result(staged, COLUMNS, ("k",))).unused
        finally:
            for file in unused:
                store.abort(f"data/{file.path}", file.upload_id)

    def _upload(self, store: MemoryStore, number: int, rows: int) -> StagedFile:
        path = f"k={number}/{part_name(self.ref.uid, self.attempt, 0, number)}"
        upload_id = store.begin(f"data/{path}")
        tag = store.upload(f"data/{path}", upload_id, Piece(1, 0, b"x" * rows))
        return StagedFile(path=path, upload_id=upload_id, pieces=(tag,), bytes=rows, rows=rows)


def records(content: Content) -> list[CommitRecord]:
    keys = sorted(k for k in content.objects if k.startswith("_commits/") and k.endswith(".json"))
    return [CommitRecord.model_validate_json(content.objects[k]) for k in keys]


def commits(content: Content) -> list[CommitRecord]:
    return [record for record in records(content) if record.mode != "fence"]


def live(content: Content) -> set[str]:
    """What the log says is there, computed the slow and simple way."""
    files: set[str] = set()
    for record in records(content):
        files -= set(record.remove)
        files |= {file.path for file in record.add}
    return files


def check_pointer(content: Content) -> None:
    """It has only gone forward, has only ever named what was visible, and names what is live."""
    told = [(Pointer.model_validate_json(body), data) for body, data in content.updates]
    assert [one.version for one, _ in told] == sorted({one.version for one, _ in told})
    for one, data in told:
        assert {file.path.removeprefix("data/") for file in one.files or ()} <= data
    if commits(content):
        last = Pointer.model_validate_json(content.objects[POINTER])
        assert last.version == commits(content)[-1].version
        assert {file.path.removeprefix("data/") for file in last.files or ()} == live(content)


def run(content: Content, *tries: Try) -> None:
    """Run attempts one after the other, undisturbed."""
    for item in tries:
        item.run(MemoryStore(content))


MODES = st.sampled_from([OutputMode(word) for word in modes.MODES])
TRIES = st.builds(
    Try,
    job=st.integers(0, 2),
    attempt=st.integers(1, 3),
    mode=MODES,
    rows=st.sampled_from([(1, 1), (1,), (0,)]),
)
STEPS = st.tuples(st.integers(0, 3), st.sampled_from(["", "", "", "", "", "", "", "before", "after"]))


@pytest.fixture(autouse=True, scope="module")
def _no_waiting():
    """On an atomic store nothing is ever waited for; a wait would be a mistake of the protocol."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit, "PUBLISH_PATIENCE", 0.0)
        patch.setattr(commit.random, "random", lambda: 0.0)
        yield


@examples(400)
@given(tries=st.lists(TRIES, min_size=1, max_size=4), schedule=st.lists(STEPS, max_size=160))
def test_any_interleaving_of_racing_and_crashing_attempts_commits_each_job_at_most_once_and_publishes_it(
    tries: Sequence[Try], schedule: Sequence[tuple[int, str]]
):
    content = Content()
    actors = [Actor(content, item.run) for item in tries]
    play(actors, schedule)

    committed = {record.job.uid: record.attempt for record in commits(content)}
    for actor, item in zip(actors, tries, strict=True):
        overtaken = {Failure.UNSAFE_STORE} if committed.get(item.ref.uid, 0) > item.attempt else set()
        surrenders = SURRENDERS | overtaken
        assert actor.error is None or (isinstance(actor.error, JobError) and actor.error.failure in surrenders)
    uids = [record.job.uid for record in commits(content)]
    assert len(uids) == len(set(uids)), "a job has committed twice"

    last = {item.job: item for item in sorted(tries, key=lambda item: item.attempt)}.values()
    for item in last:  # the operator starts another attempt of each job, which is not disturbed
        again = Try(item.job, item.attempt + 1, item.mode, item.rows)
        actor = Actor(content, again.run)
        play([actor], [])
        assert actor.error is None or actor.error.failure is Failure.OUTPUT_EXISTS
    uids = [record.job.uid for record in commits(content)]
    assert len(uids) == len(set(uids))
    assert content.data() == live(content)
    check_pointer(content)
    refused = {item.ref.uid for item in last} - set(uids)
    assert not content.uploads, "uploads were left behind"
    assert all(item.mode is OutputMode.ERROR_IF_EXISTS for item in last if item.ref.uid in refused)


@examples(150)
@given(
    schedule=st.lists(STEPS, max_size=120),
    mode=st.sampled_from([OutputMode.APPEND, OutputMode.OVERWRITE, OutputMode.OVERWRITE_PARTITIONS]),
)
def test_an_attempt_that_was_believed_dead_and_wakes_up_never_commits_files_that_its_successor_dropped(
    schedule: Sequence[tuple[int, str]], mode: OutputMode
):
    content = Content()
    zombie = Actor(content, Try(0, 1, mode).run)
    for _ in range(12):
        if not zombie.ended:
            zombie.step()
    play([zombie, Actor(content, Try(0, 2, mode).run)], schedule)
    run(content, Try(0, 3, mode))
    check_pointer(content)
    assert [record.job.uid for record in commits(content)] == [Try(0).ref.uid]
    assert content.data() == live(content)
    assert len(content.data()) == 2


def test_a_committed_job_that_runs_again_after_anothers_overwrite_changes_nothing():
    content = Content()
    run(content, Try(0), Try(1, mode=OutputMode.OVERWRITE))
    before = dict(content.objects)
    run(content, Try(0, attempt=2))
    assert content.objects == before


def test_a_job_whose_attempts_all_crashed_after_the_record_is_published_by_the_next_job_on_the_table():
    content = Content()
    crashed = Actor(content, Try(0).run)
    while not commits(content):
        crashed.step()
    crashed.step("before")
    assert content.data() == set()
    run(content, Try(1))
    assert len(content.data()) == 4


def test_a_slow_publisher_whose_files_were_published_and_replaced_meanwhile_succeeds():
    content = Content()
    slow = Actor(content, Try(0).run)
    while not commits(content):
        slow.step()
    run(content, Try(1, mode=OutputMode.OVERWRITE))
    play([slow], [])
    assert slow.error is None
    assert content.data() == live(content) == {file.path for file in commits(content)[1].add}


def test_error_if_exists_names_the_version_and_the_job_that_is_there():
    content = Content()
    run(content, Try(0))
    with pytest.raises(JobError, match=r"version 1 already, committed by job ns/job-0 ") as caught:
        run(content, Try(1, mode=OutputMode.ERROR_IF_EXISTS))
    assert caught.value.failure is Failure.OUTPUT_EXISTS


def test_of_two_jobs_that_both_saw_no_table_only_the_first_creates_it():
    content = Content()
    late = Actor(content, Try(0, mode=OutputMode.ERROR_IF_EXISTS).run)
    while not content.uploads:
        late.step()
    run(content, Try(1, mode=OutputMode.ERROR_IF_EXISTS))
    play([late], [])
    assert isinstance(late.error, JobError) and late.error.failure is Failure.OUTPUT_EXISTS
    assert [record.job.name for record in commits(content)] == ["job-1"]


def test_a_fence_is_no_version_of_the_table():
    content = Content()
    crashed = Actor(content, Try(0, mode=OutputMode.ERROR_IF_EXISTS).run)
    while not content.uploads:
        crashed.step()
    crashed.step("before")
    run(content, Try(0, 2, OutputMode.ERROR_IF_EXISTS))
    assert [record.mode for record in records(content)] == ["fence", "errorIfExists"]
    assert not content.uploads


def test_a_log_that_is_read_anew_while_older_versions_are_published_leads_to_no_second_commit(
    monkeypatch: pytest.MonkeyPatch,
):
    content = Content()
    usual, raced = Committer.settle, []

    def settle(self: Committer) -> None:
        if not raced:
            raced.append(self)
            run(content, Try(0))
            self.log.refresh()  # as moving the pointer does, if it is ahead of this log
        usual(self)

    monkeypatch.setattr(Committer, "settle", settle)
    run(content, Try(0))
    assert [record.job.name for record in commits(content)] == ["job-0"]


def test_what_an_attempt_has_staged_goes_a_day_later_also_if_its_uploads_are_gone_and_it_cannot_commit_then(
    monkeypatch: pytest.MonkeyPatch,
):
    content = Content()
    asleep = Actor(content, Try(0).run)
    while not any(key.endswith("rank-00000.json") for key in content.objects):
        asleep.step()
    content.uploads.clear()  # a lifecycle rule of the bucket
    run(content, Try(1))
    assert any(key.startswith("_staging/") for key in content.objects), "it may be alive"
    monkeypatch.setattr(sweep_module, "STALE_SECONDS", -5)
    run(content, Try(2))
    assert not any(key.startswith("_staging/") for key in content.objects)
    play([asleep], [])
    assert isinstance(asleep.error, JobError) and asleep.error.failure is Failure.WORKER_LOST
    assert [record.job.name for record in commits(content)] == ["job-1", "job-2"]


def test_rows_take_the_place_of_the_file_that_stands_for_an_empty_table():
    content = Content()
    run(content, Try(0, rows=(0,)), Try(1, rows=(0,)))
    assert len(content.data()) == 1
    run(content, Try(2, rows=(1, 0, 1)))
    assert content.data() == live(content)
    assert [sum(file.rows for file in record.add) for record in records(content)] == [0, 0, 2]
    assert len(content.data()) == 2, "neither the placeholder nor an empty file is left"
    assert not content.uploads


def test_appending_nothing_adds_no_file():
    content = Content()
    run(content, Try(0))
    before = content.data()
    run(content, Try(1, rows=(0,)))
    assert content.data() == before
    assert len(commits(content)) == 2


@pytest.mark.parametrize(
    ("columns", "partition_by", "text"),
    [
        pytest.param((COLUMNS[0],), ("k",), "v is missing in the result and Int64 in the table", id="a column lacks"),
        pytest.param(
            (COLUMNS[0], Column(name="v", type="String")), ("k",), "v is String in the result and Int64 in the table",
            id="a type differs",
        ),
        pytest.param(COLUMNS, (), r"partitionBy is \[\], but the table is partitioned by \[k\]", id="other folders"),
    ],
)  # fmt: skip
def test_appending_what_does_not_fit_is_refused_and_says_why(columns, partition_by, text):
    content = Content()
    run(content, Try(0))
    store = MemoryStore(content)
    committer = Committer(store, Try(1).ref, 1, OutputMode.APPEND)
    with pytest.raises(JobError, match=text) as caught:
        committer.commit(Result([], columns, partition_by))
    assert caught.value.failure is Failure.USER_ERROR


def test_a_log_of_a_thousand_versions_is_read_with_one_listing_and_few_records():
    content = Content()
    run(content, Try(0))
    first = dict(content.objects)
    for version in range(2, 991):  # copies of the first: each commit would read the log of all before it
        for key, body in first.items():
            place = key.replace(f"{1:020}", f"{version:020}").replace("00000001-", f"{version:08x}-")
            text = body.decode().replace('"version":1', f'"version":{version}')
            content.objects[place] = text.replace("00000001-", f"{version:08x}-").encode()
    for job in range(990, 1000):
        run(content, Try(job, mode=OutputMode.OVERWRITE if job == 990 else OutputMode.APPEND))
    assert records(content)[-1].version == 1000
    calls: list[str] = []

    class Counting(MemoryStore):
        def get(self, key: str) -> bytes | None:
            calls.append(key)
            return super().get(key)  # of the pointer too

    committer = Committer(Counting(content), Try(2000).ref, 1, OutputMode.OVERWRITE)
    committer.commit(Result([], COLUMNS, ("k",)))
    assert len(calls) == 11, "an overwrite needs only the records since the last overwrite"


@pytest.mark.parametrize(("sign", "left"), [(True, 1), (False, 0)])
def test_an_old_upload_of_another_job_goes_unless_that_job_shows_a_sign_of_life(sign: bool, left: int, monkeypatch):
    content = Content()
    slow = Actor(content, Try(0).run)
    while not content.uploads:
        slow.step()
    monkeypatch.setattr(MemoryStore, "dangling", lambda self: [
        Dangling(key, uid, begun=0.0) for uid, (key, _) in self.content.uploads.items()
    ])  # fmt: skip
    if sign:
        content.objects[lease_key(Try(0).ref.uid, 1, 0)] = b""
    run(content, Try(1))
    assert len(content.uploads) == left
    slow.step("before")


def test_an_upload_that_vanished_after_the_commit_is_reported_with_the_command_that_takes_it_back():
    content = Content()
    crashed = Actor(content, Try(0).run)
    while not commits(content):
        crashed.step()
    crashed.step("before")
    content.uploads.clear()
    with pytest.raises(JobError, match=r"gpuquery fsck URI --void 1"):
        run(content, Try(1))


def test_a_record_of_a_newer_format_stops_the_reader():
    content = Content()
    run(content, Try(0))
    key = "_commits/00000000000000000001.json"
    content.objects[key] = content.objects[key].replace(b'"format":1', b'"format":3')
    with pytest.raises(JobError, match="written by a newer runner"):
        log_of(content).read([1])


def test_a_partition_that_another_job_adds_in_between_is_replaced_too():
    content = Content()
    late = Actor(content, Try(0, mode=OutputMode.OVERWRITE_PARTITIONS, rows=(1,)).run)
    while not content.uploads:
        late.step()
    run(content, Try(1, rows=(1, 1)), Try(2, rows=(1,)))
    play([late], [])
    assert late.error is None
    partitions = [path.partition("/")[0] for path in sorted(content.data())]
    assert partitions == ["k=0", "k=1"], "of k=0 only what the late job has brought"
    assert content.data() == live(content)


def test_only_records_that_older_runners_do_not_know_have_the_newer_format():
    content = Content()
    run(content, Try(0), Try(1, mode=OutputMode.OVERWRITE_PARTITIONS), Try(2, mode=OutputMode.OVERWRITE), Try(3))
    assert [(record.mode, record.format) for record in records(content)] == [
        ("append", 1), ("overwritePartitions", 2), ("overwrite", 1), ("append", 1),
    ]  # fmt: skip


def log_of(content: Content) -> log.Log:
    found = log.Log(MemoryStore(content))
    found.refresh()
    return found
