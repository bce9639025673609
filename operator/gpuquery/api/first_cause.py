"""First cause: which of the failures of one attempt the others follow from.

Where one process dies, others lose their connections, and may say so before anyone reports the death. In a pod a
failure that may be a consequence is therefore held for a while, and gives way to any other that comes meanwhile; the
operator, which sees what all pods have left, puts it last. Pure: time is an argument. Pods and operator share it, so
it needs the standard library alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from gpuquery.api.reasons import Reach

if TYPE_CHECKING:
    from gpuquery.api.reasons import Failure

T = TypeVar("T")


def order(failure: Failure, *, at: float, index: int = 0, reported: bool = False) -> tuple[int, float, int]:
    """Return the key by which the first cause is the least.

    `at` is when it was seen and `index` that of its pod. `reported` says that a process speaks of others: what became
    of a pod by itself is nearer to the cause.
    """
    lost = failure.reach >= Reach.LOSS
    return (Reach.LOSS + reported if lost else failure.reach), at, index


class FirstCause(Generic[T]):
    """The first cause, found while failures come in: once decided, it stays."""

    def __init__(self) -> None:
        self.decided: T | None = None
        self._held: tuple[float, T] | None = None

    @property
    def suspected(self) -> bool:
        """Whether anything is known to have gone wrong."""
        return self.decided is not None or self._held is not None

    def decide(self, fault: T) -> None:
        """Take a failure that counts at once."""
        if self.decided is None:
            self.decided = fault

    def hold(self, fault: T, *, until: float) -> None:
        """Take one that counts from that time on, unless another has been decided by then."""
        if self._held is None or until < self._held[0]:
            self._held = until, fault

    def due(self, now: float, *, doubt: bool = False) -> T | None:
        """Return the first cause, if it is known by now; with `doubt`, whether a pod is alive, what is held waits."""
        if self.decided is None and self._held is not None and not doubt and now >= self._held[0]:
            self.decided = self._held[1]
        return self.decided
