"""Work that goes on beside other work: begun now, asked for later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

STACK_BYTES = 64 << 20
"""Stack of a thread that plans: Polars descends into nested expressions by recursion, and an overflow is a crash. Only
what is used of it takes memory."""


def start(thread: threading.Thread) -> None:
    """Start a thread with a large stack."""
    usual = threading.stack_size(STACK_BYTES)
    try:
        thread.start()
    finally:
        threading.stack_size(usual)


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

    def _work(self) -> None:
        try:
            self._made.append(self._call())
        except BaseException as exc:  # a panic of Polars is no Exception
            self._raised = exc
