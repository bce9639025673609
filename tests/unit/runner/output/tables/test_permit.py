"""The permit of an attempt: of those who want to commit it and those who want to remove its files, one gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.tables.permit import Permit
from tests.support.examples import examples
from tests.support.memory_store import Actor, Content, MemoryStore, play

if TYPE_CHECKING:
    from collections.abc import Callable

UID = "6f1ab7c2-0000-4000-8000-000000000001"
KEY = f"_staging/{UID}/2/permit"


def takes(permit: Permit, store: MemoryStore) -> str:
    try:
        permit.take(store)
    except JobError as exc:
        return f"{exc.failure.value}: {exc.message}"
    return "taken"


def test_the_first_process_gets_it_and_another_of_the_same_attempt_does_not() -> None:
    store = MemoryStore(Content())
    first, second = Permit(UID, 2), Permit(UID, 2)
    assert takes(first, store) == "taken"
    assert "another process commits attempt 2" in takes(second, store)
    assert not second.void(store), "its files may be in a commit"


def test_an_attempt_that_was_given_up_may_not_commit_any_more() -> None:
    store = MemoryStore(Content())
    assert Permit(UID, 2).void(store)
    with pytest.raises(JobError, match="attempt 2 was given up for dead") as caught:
        Permit(UID, 2).check(store)
    assert caught.value.failure is Failure.WORKER_LOST
    assert takes(Permit(UID, 2), store).startswith("WorkerLost: attempt 2 was given up for dead")


def test_it_may_be_voided_any_number_of_times() -> None:
    store = MemoryStore(Content())
    assert Permit(UID, 2).void(store) and Permit(UID, 2).void(store)


def test_the_process_that_has_it_may_remove_its_own_files_once_its_commit_was_refused() -> None:
    store, permit = MemoryStore(Content()), Permit(UID, 2)
    permit.take(store)
    assert permit.void(store)


def test_an_answer_that_was_lost_does_not_lose_the_permit() -> None:
    class Lossy(MemoryStore):
        def create(self, key: str, body: bytes) -> bool:
            super().create(key, body)
            return super().create(key, body)  # the store's client has asked again

    store, permit = Lossy(Content()), Permit(UID, 2)
    assert takes(permit, store) == "taken" and takes(permit, store) == "taken"


@pytest.mark.parametrize("body", [b"", b"commit", b"commit " + b"g" * 16, b"VOID", b"void\n", b"\xff", b"x" * 10**6])
def test_what_no_runner_writes_lets_nobody_commit_or_remove(body: bytes) -> None:
    content = Content(objects={KEY: body})
    assert takes(Permit(UID, 2), MemoryStore(content)).startswith(f"UnsafeStore: {KEY} is b'")
    assert not Permit(UID, 2).void(MemoryStore(content))


@examples(300)
@given(
    removers=st.integers(1, 2),
    schedule=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "", "", "before", "after"])), max_size=16),
)
def test_whatever_the_order_nobody_commits_what_another_may_remove(
    removers: int, schedule: list[tuple[int, str]]
) -> None:
    content, got = Content(), []

    def commit(store: MemoryStore) -> None:
        if takes(Permit(UID, 2), store) == "taken":
            got.append("commit")

    def remove(store: MemoryStore) -> None:
        if Permit(UID, 2).void(store):
            got.append("void")

    works: list[Callable[[MemoryStore], None]] = [commit, commit, *[remove] * removers]
    play([Actor(content, work) for work in works], schedule)
    assert got.count("commit") <= 1 and not {"commit", "void"} <= set(got)
