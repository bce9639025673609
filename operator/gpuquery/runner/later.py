"""Work that goes on beside other work: begun now, asked for later."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

A = TypeVar("A")
T = TypeVar("T")

STACK_BYTES = 64 << 20
"""Stack of a thread that plans: Polars descends into nested expressions by recursion, and an overflow is a crash. Only
what is used of it takes memory."""
WAKE_SECONDS = 0.05
GRACE_SECONDS = 2.0
"""How long, once one of several has failed, those before it are waited for: they may have failed too."""


def start(thread: threading.Thread) -> None:
    """Start a thread with a large stack."""
    usual = threading.stack_size(STACK_BYTES)
    try:
        thread.start()
    finally:
        threading.stack_size(usual)


def each(call: Callable[[A], T], items: Sequence[A], threads: int) -> list[T]:
    """Call with each item, some at the same time; raise what the first of them has raised.

    Nobody waits for the others then, neither here nor when the process ends: each may wait for minutes.
    """
    gate = threading.Semaphore(threads)

    def gated(item: A) -> T:
        with gate:
            return call(item)

    begun = [Later(lambda item=item: gated(item)) for item in items]  # type: ignore[misc]
    waited = 0.0
    while not all(one.over for one in begun):
        failed = any(one.over and one.raised for one in begun)
        if failed and waited >= GRACE_SECONDS:
            break
        if (busy := next((one for one in begun if not one.over), None)) is not None:  # it may end in this moment
            busy.wait(WAKE_SECONDS)
        waited += WAKE_SECONDS if failed else 0.0
    if (first := next((one for one in begun if one.over and one.raised), None)) is not None:
        first.result()
    return [one.result() for one in begun]


class Later(Generic[T]):
    """A call in a thread of its own, which nobody waits for when the process ends."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._made: list[T] = []
        self._raised: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="preflight", daemon=True)
        start(self._thread)

    def result(self) -> T:
        """Wait, and return what was made or raise what was raised."""
        self._thread.join()
        if self._raised is not None:
            raise self._raised
        return self._made[0]

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    @property
    def raised(self) -> bool:
        """Whether it has raised something."""
        return self._raised is not None

    def wait(self, seconds: float) -> None:
        """Wait for its end, not longer than that."""
        self._thread.join(seconds)

    def _work(self) -> None:
        try:
            self._made.append(self._call())
        except BaseException as exc:  # a panic of Polars is no Exception
            self._raised = exc
