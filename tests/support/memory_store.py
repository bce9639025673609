"""A store in memory whose callers take turns, one call at a time, in an order that the test decides; any may die.

Each actor is a thread that stops before every call of its store until the scheduler lets it go on. So a schedule (a
list of small numbers) determines everything, and hypothesis can search and shrink it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores.base import Dangling, Piece, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Crash(BaseException):
    """The process of an actor is gone."""


@dataclass
class Content:
    """What is in the store; it survives all actors."""

    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, tuple[str, dict[int, bytes]]] = field(default_factory=dict)
    begun: int = 0
    updates: list[tuple[bytes, set[str]]] = field(default_factory=list)
    """What `update` has written, each with the paths below data/ at that moment."""

    def data(self) -> set[str]:
        """Paths below data/."""
        return {key.removeprefix("data/") for key in self.objects if key.startswith("data/")}


class MemoryStore:
    """One actor's view of the content. `turn(after)` is called before and after every effect."""

    lost = "?"

    def __init__(self, content: Content, turn: Callable[[bool], None] = lambda _: None) -> None:
        self.content = content
        self._turn = turn

    def do(self, effect: Callable[[], Any]) -> Any:
        """Do one call, which has an effect and an answer."""
        self._turn(False)
        result = effect()
        self._turn(True)
        return result

    def get(self, key: str) -> bytes | None:
        return self.do(lambda: self.content.objects.get(key))

    def put(self, key: str, body: bytes) -> None:
        self.do(lambda: self.content.objects.__setitem__(key, body))

    def create(self, key: str, body: bytes) -> bool:
        def effect() -> bool:
            if key in self.content.objects:
                return False
            self.content.objects[key] = body
            return True

        return self.do(effect)

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> bool:
        def effect() -> bool:
            if self.content.objects.get(key) != old:
                return False
            self.content.objects[key] = made
            self.content.updates.append((made, self.content.data()))
            return True

        while True:
            old = self.get(key)
            if (made := change(old)) is None:
                return False
            if self.do(effect):
                return True

    def size(self, key: str) -> int | None:
        return self.do(lambda: len(self.content.objects[key]) if key in self.content.objects else None)

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        def effect() -> list[Stored]:
            keys = sorted(k for k in self.content.objects if k.startswith(prefix) and k > after)
            return [Stored(k, len(self.content.objects[k]), time.time()) for k in keys]

        yield from self.do(effect)

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.do(lambda key=key: self.content.objects.pop(key, None))

    def begin(self, key: str) -> str:
        def effect() -> str:
            self.content.begun += 1
            upload_id = f"upload-{self.content.begun}"
            self.content.uploads[upload_id] = (key, {})
            return upload_id

        return self.do(effect)

    def upload(self, key: str, upload_id: str, piece: Piece) -> str:
        def effect() -> str:
            if upload_id not in self.content.uploads:
                raise JobError(Failure.INTERNAL_ERROR, f"NoSuchUpload: {key}")
            self.content.uploads[upload_id][1][piece.number] = piece.body
            return f"tag-{piece.number}"

        return self.do(effect)

    def complete(self, key: str, upload_id: str, pieces: Sequence[str]) -> bool:
        def effect() -> bool:
            if upload_id not in self.content.uploads:
                return False
            _, parts = self.content.uploads.pop(upload_id)
            self.content.objects[key] = b"".join(parts[n] for n in sorted(parts))
            return True

        return self.do(effect)

    def abort(self, key: str, upload_id: str) -> None:
        self.do(lambda: self.content.uploads.pop(upload_id, None))

    def dangling(self, below: str = "") -> Sequence[Dangling]:
        return self.do(lambda: [Dangling(key, uid, time.time()) for uid, (key, _) in self.content.uploads.items()])

    def check_free(self, key: str) -> None:
        """Nothing stands in the way of an object."""

    def can_be(self, upload_id: str, key: str, staging: str) -> bool:
        return upload_id.startswith("upload-")

    def check_key(self, key: str) -> None:
        pass

    def parallel(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Sequence[Any]:
        return [work(item) for item in items]


class Actor:
    """A thread that does one call of its store for each `step`."""

    def __init__(self, content: Content, work: Callable[[MemoryStore], None]) -> None:
        self._go = threading.Semaphore(0)
        self._paused = threading.Semaphore(0)
        self._crash = ""
        self._dead = False
        self.ended = False
        self.error: BaseException | None = None
        self._store = MemoryStore(content, self._turn)
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()
        self._paused.acquire()

    def step(self, crash: str = "") -> None:
        """Let it do its next call; `crash` is "before" or "after" that call's effect."""
        self._crash = crash
        self._go.release()
        self._paused.acquire()

    def _turn(self, after: bool) -> None:
        if self._dead:
            raise Crash
        if not after:
            self._paused.release()
            self._go.acquire()
        if self._crash == ("after" if after else "before"):
            self._dead = True
            raise Crash

    def _run(self, work: Callable[[MemoryStore], None]) -> None:
        try:
            work(self._store)
        except Crash:
            pass
        except BaseException as exc:
            self.error = exc
        self.ended = True
        self._paused.release()


def play(actors: Sequence[Actor], schedule: Sequence[tuple[int, str]]) -> None:
    """Run all actors to their end: first by the schedule of (which of those still alive, crash), then in turn."""
    alive = [actor for actor in actors if not actor.ended]
    for choice, crash in schedule:
        if not alive:
            return
        alive[choice % len(alive)].step(crash)
        alive = [actor for actor in alive if not actor.ended]
    while alive:
        for actor in alive:
            actor.step()
        alive = [actor for actor in alive if not actor.ended]
