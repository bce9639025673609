"""Patience: call a store until it succeeds or a deadline has passed.

Until a deadline and not a number of times: an outage lasts as long as it lasts, and thirty quick tries can be over
within seconds.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


class StoppedError(Exception):
    """Something else ended the waiting."""


def until(
    call: Callable[[], T],
    *,
    seconds: float,
    again: Callable[[Exception], bool],
    stop: threading.Event | None = None,
    tries: int = 1,
) -> T:
    """Call until it succeeds; raise what it raised if `again` says no to that, or when the time is up.

    It is called `tries` times at least, however long one call takes.

    Raises StoppedError, from what was raised last, if `stop` is set while this waits.
    """
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
    stop = stop or threading.Event()
    for tried in itertools.count(1):
        try:
            return call()
        except Exception as exc:
            if not again(exc) or (tried >= tries and time.monotonic() + pause > deadline):
                raise
            # The random half keeps many pods from coming back in the same moment.
            if stop.wait(pause * random.uniform(0.5, 1)):  # noqa: S311
                raise StoppedError from exc
        pause = min(pause * 2, LONGEST_PAUSE)
    raise AssertionError("a count has no end")
