"""What every store that is written to must do: create exclusively, and keep uploads invisible until they are complete.

`tests/support/lakes.py` says where a server is weaker than the cloud that it stands for. Real clouds were not asked.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores.base import Piece
from tests.support.lakes import STAGING, Lake
from tests.support.memory_store import Content, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.stores.base import Store

pytestmark = pytest.mark.s3
PART = "data/k=a%2Fb %C3%A9/part-11111111-1-00000-00000.parquet"
MIB = 1 << 20


def begun(store: Store, bodies: Sequence[bytes], key: str = PART) -> tuple[str, list[str]]:
    """Begin an upload and send its pieces; returns its id and what `complete` needs."""
    upload_id, offset, tags = store.begin(key), 0, []
    for number, body in enumerate(bodies, 1):
        tags.append(store.upload(key, upload_id, Piece(number, offset, body)))
        offset += len(body)
    return upload_id, tags


KEYS = ("_commits/1.json", "_commits/2.json", "_commits/2.done", "_staging/a b/c", "data/k=%2F+&=é/x~(1)'.parquet")
CALLS = st.lists(
    st.tuples(
        st.sampled_from(("put", "create", "update", "delete", "get", "size", "list")),
        st.sampled_from(KEYS),
        st.binary(max_size=40),
    ),
    max_size=14,
)


def test_any_calls_answer_as_a_dictionary_does(lake: Lake) -> None:
    @given(CALLS)
    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def answers(calls: list[tuple[str, str, bytes]]) -> None:
        stores = (lake.store(), MemoryStore(Content()))
        stores[0].delete(KEYS)
        for call, key, body in calls:
            first, second = (_answer(store, call, key, body) for store in stores)
            assert first == second, (call, key)
        assert lake.contents() == stores[1].content.objects

    answers()


def _answer(store: Any, call: str, key: str, body: bytes) -> Any:
    match call:
        case "put" | "create":
            return getattr(store, call)(key, body)
        case "update":
            return store.update(key, lambda old: None if body in (old or b"-") else (old or b"") + body)
        case "delete":
            return store.delete([key, "_commits/none"])
        case "list":
            return [(item.key, item.bytes) for item in store.list("_commits/", after=key)]
        case _:
            return getattr(store, call)(key)


def test_of_all_that_create_one_object_at_once_exactly_one_succeeds(lake: Lake) -> None:
    racers = [lake.store() for _ in range(4)]
    for round_ in range(3):
        with ThreadPoolExecutor(8) as pool:
            key = f"_commits/{round_}.json"
            won = list(pool.map(lambda n: (racers[n % 4].create(key, b"%d" % n), n), range(8)))  # noqa: B023
        (winner,) = [number for got, number in won if got]
        assert lake.contents()[key] == b"%d" % winner


def test_many_that_update_one_object_at_once_lose_no_update(lake: Lake) -> None:
    racers = [lake.store() for _ in range(4)]

    def add(number: int) -> bool:
        return racers[number % 4].update("_current.json", lambda old: (old or b"") + b"%d," % number)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(add, range(16)))
    assert sorted(lake.contents()["_current.json"].split(b",")) == sorted([b"", *(b"%d" % n for n in range(16))])


def test_an_upload_is_invisible_until_another_process_completes_it_whole_and_once(lake: Lake) -> None:
    bodies = [random.Random(n).randbytes(5 * MIB) for n in range(2)] + [b"the end"]
    store = lake.store()
    upload_id, tags = begun(store, bodies)
    assert lake.data() == {}
    assert [(one.key.rpartition("/")[2], one.upload_id) for one in store.dangling()] == [
        (PART.rpartition("/")[2], upload_id)
    ]
    other = lake.store()
    assert other.can_be(upload_id, PART, STAGING)
    assert other.complete(PART, upload_id, tags)
    assert lake.data() == {PART: b"".join(bodies)}
    store.complete(PART, upload_id, tags)  # some servers say that it is complete, others that it is gone
    assert lake.data() == {PART: b"".join(bodies)}
    assert other.size(PART) == 10 * MIB + 7
    assert list(other.dangling()) == []
    other.delete([PART])
    assert not store.complete(PART, upload_id, tags), "what was deleted does not come back"
    assert lake.contents() == {}


def test_pieces_may_come_in_any_order_and_more_than_once(lake: Lake) -> None:
    store, bodies = lake.store(), [b"a" * 5 * MIB, b"b" * 5 * MIB, b"c"]
    upload_id, offsets = store.begin(PART), [0, 5 * MIB, 10 * MIB]
    pieces = [Piece(n + 1, offsets[n], bodies[n]) for n in (2, 0, 1, 0)]
    tags = {piece.number: store.upload(PART, upload_id, piece) for piece in pieces}
    assert store.complete(PART, upload_id, [tags[n] for n in (1, 2, 3)])
    assert lake.data() == {PART: b"".join(bodies)}


def test_of_two_uploads_for_one_key_the_one_that_is_completed_counts(lake: Lake) -> None:
    store = lake.store()
    (mine, tags), (other, theirs) = begun(store, [b"mine"]), begun(store, [b"not mine"])
    assert mine != other
    store.abort(PART, other)
    assert store.complete(PART, mine, tags)
    store.abort(PART, mine)
    assert lake.data() == {PART: b"mine"}
    if lake.kind != "s3":  # S3 takes no condition, and SeaweedFS would find no such upload either
        assert not store.complete(PART, other, theirs)
    assert lake.data() == {PART: b"mine"}


def test_an_upload_that_was_dropped_shows_nothing(lake: Lake) -> None:
    store = lake.store()
    upload_id, tags = begun(store, [b"x" * 100])
    store.abort(PART, upload_id)
    store.abort(PART, upload_id)
    assert lake.contents() == {}
    if lake.kind in ("az", "abfss"):  # they are Azure's to drop, a week later, and no fence lets anybody name them
        assert [one.upload_id for one in store.dangling()] == [upload_id]
    else:
        assert list(store.dangling()) == []
        assert not store.complete(PART, upload_id, tags)


def test_a_name_that_is_too_long_is_refused_before_anything_is_written(lake: Lake) -> None:
    lake.store().check_key(PART)
    with pytest.raises(JobError) as caught:
        lake.store().check_key(f"data/k={'a' * 1024}/part-11111111-1-00000-00000.parquet")
    assert caught.value.failure is Failure.OUTPUT_LIMIT


def test_nothing_above_the_table_is_reached(lake: Lake) -> None:
    for key in ("../other", "a//b", "data/../../x"):
        with pytest.raises(JobError) as caught:
            lake.store().put(key, b"")
        assert caught.value.failure is Failure.UNSAFE_STORE


@pytest.mark.parametrize("pieces", [1, 32, 33, 70])
def test_google_puts_more_than_32_pieces_together_in_rounds(
    pieces: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from tests.support.lakes import made

    lake = made("gs", request, monkeypatch, tmp_path)
    store, bodies = lake.store(), [b"%04d" % n for n in range(pieces)]
    upload_id, tags = begun(store, bodies)
    assert store.complete(PART, upload_id, tags)
    assert lake.contents() == {PART: b"".join(bodies)}
