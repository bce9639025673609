"""The commit protocol on what Google and Azure document: any schedule of requests, with crashes between any two.

In memory, because no emulator does all of it (tests/support/small_clouds.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import commit
from gpuquery.runner.output.record import StagedFile, part_name
from gpuquery.runner.stores import gs_table
from gpuquery.runner.stores.base import Piece
from tests.support.examples import examples
from tests.support.memory_store import play
from tests.support.small_clouds import SmallAzure, SmallGcs, actor
from tests.unit.runner.output.test_commit import MODES, SURRENDERS, Try, commits, live

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.memory_store import Actor
    from tests.support.small_clouds import Cloud

STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["", "", "", "", "", "", "", "", "before", "after"])), max_size=200
)
CLOUDS = pytest.mark.parametrize("kind", [SmallGcs, SmallAzure], ids=["gs", "az"])


@dataclass(frozen=True)
class Pieces(Try):
    """One attempt, whose files come in three pieces: two rounds, if two are put together at a time."""

    def _upload(self, store: Any, number: int, rows: int) -> StagedFile:
        path = f"k={number}/{part_name(self.ref.uid, self.attempt, 0, number)}"
        key, size = f"data/{path}", rows + 2
        upload_id = store.begin(key)
        tags = [store.upload(key, upload_id, Piece(n, n - 1, b"x")) for n in range(1, size + 1)]
        return StagedFile(path=path, upload_id=upload_id, pieces=tuple(tags), bytes=size, rows=rows)


TRIES = st.builds(
    Pieces, job=st.integers(0, 2), attempt=st.integers(1, 3), mode=MODES, rows=st.sampled_from([(1, 1), (1,)])
)


@pytest.fixture(autouse=True, scope="module")
def _two_at_a_time_and_no_waiting() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit, "PUBLISH_PATIENCE", 0.0)
        patch.setattr(commit.random, "random", lambda: 0.0)
        patch.setattr(gs_table, "MOST", 2)
        yield


def begun(cloud: Cloud, item: Try) -> Actor:
    return actor(cloud, item.ref.uid, item.attempt, item.run)


@CLOUDS
@examples(120)
@given(tries=st.lists(TRIES, min_size=1, max_size=4), schedule=STEPS)
def test_any_interleaving_commits_each_job_at_most_once_and_publishes_it(
    kind: type[Cloud], tries: Sequence[Pieces], schedule: Sequence[tuple[int, str]]
) -> None:
    cloud = kind()
    actors = [begun(cloud, item) for item in tries]
    play(actors, schedule)
    committed = {record.job.uid: record.attempt for record in commits(cloud.content)}
    for one, item in zip(actors, tries, strict=True):
        overtaken = {Failure.UNSAFE_STORE} if committed.get(item.ref.uid, 0) > item.attempt else set()
        known = isinstance(one.error, JobError) and one.error.failure in SURRENDERS | overtaken
        assert one.error is None or known, one.error
    for item in {item.job: item for item in sorted(tries, key=lambda item: item.attempt)}.values():
        last = begun(cloud, Pieces(item.job, item.attempt + 1, item.mode, item.rows))
        play([last], [])
        assert last.error is None or last.error.failure is Failure.OUTPUT_EXISTS  # type: ignore[attr-defined]
    uids = [record.job.uid for record in commits(cloud.content)]
    assert len(uids) == len(set(uids)), "a job has committed twice"
    assert cloud.content.data() == live(cloud.content)
    sizes = {file.path: file.bytes for record in commits(cloud.content) for file in record.add}
    assert all(len(cloud.content.objects[f"data/{path}"]) == sizes[path] for path in cloud.content.data())
    assert cloud.left() == []


@CLOUDS
@examples(120)
@given(schedule=STEPS, mode=st.sampled_from([OutputMode.APPEND, OutputMode.OVERWRITE]))
def test_an_attempt_that_was_believed_dead_never_brings_back_what_was_dropped_or_replaced(
    kind: type[Cloud], schedule: Sequence[tuple[int, str]], mode: OutputMode
) -> None:
    cloud = kind()
    zombie = begun(cloud, Pieces(0, 1, mode))
    for _ in range(14):
        if not zombie.ended:
            zombie.step()
    play([zombie, begun(cloud, Pieces(0, 2, mode)), begun(cloud, Pieces(1, 1, OutputMode.OVERWRITE))], schedule)
    for last in (Pieces(0, 3, mode), Pieces(1, 2, OutputMode.OVERWRITE)):
        play([begun(cloud, last)], [])
    assert sorted(record.job.uid for record in commits(cloud.content)) == [Try(0).ref.uid, Try(1).ref.uid]
    assert cloud.content.data() == live(cloud.content)
    assert cloud.left() == []


def at_its_publish(kind: type[Cloud]) -> tuple[Cloud, Actor]:
    """Return a store with a version that its committer is about to publish."""
    cloud = kind()
    slow = begun(cloud, Pieces(0))
    while not commits(cloud.content):
        slow.step()
    return cloud, slow


def check_unmoved_by(slow: Actor, cloud: Cloud) -> None:
    """Let the slow one end, which must change nothing of the table."""
    before = cloud.content.data()
    assert before == live(cloud.content)
    play([slow], [])
    assert slow.error is None
    assert cloud.content.data() == before
    assert not [key for key in cloud.left() if key.startswith(f"_staging/{Pieces(0).ref.uid}/")]


@CLOUDS
@examples(250)
@given(turns=st.lists(st.integers(0, 1), min_size=20, max_size=60))
def test_of_two_that_publish_one_upload_the_slow_one_brings_nothing_back(
    kind: type[Cloud], turns: Sequence[int]
) -> None:
    cloud, slow = at_its_publish(kind)
    both = [slow, begun(cloud, Pieces(1, mode=OutputMode.OVERWRITE))]
    for turn in turns:
        if not both[turn].ended:
            both[turn].step()
    play(both[1:], [])
    check_unmoved_by(slow, cloud)


@CLOUDS
def test_what_a_crash_leaves_of_a_file_that_is_visible_is_dropped_before_the_file_can_be_replaced(
    kind: type[Cloud],
) -> None:
    for steps in range(12):
        cloud, slow = at_its_publish(kind)
        for _ in range(steps):
            if not cloud.content.data():
                slow.step()
        crashing = begun(cloud, Pieces(1))
        while not cloud.content.data():
            crashing.step()
        crashing.step("before")
        play([begun(cloud, Pieces(2))], [])
        play([begun(cloud, Pieces(3, mode=OutputMode.OVERWRITE))], [])
        check_unmoved_by(slow, cloud)
