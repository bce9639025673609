"""Census: a few facts about every job, by which the maxima of namespaces are enforced.

LISTs (which show how a job stands), the watch (which shows new and deleted jobs) and looks feed it, so it makes no
requests of its own. A job counts as begun from the moment it is let go ahead, even if its status does not say so yet:
looks in parallel cannot exceed a maximum. A job that has to wait is looked at again when there is room, and
occasionally, after pauses that grow.
"""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuquery.plan.maxima import FINISHED_JOBS, LIVE_JOBS, Maxima, Maximum, maximum
from gpuquery.reconcile.policy import admission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gpuquery.reconcile.observe.head import Sight
    from gpuquery.reconcile.observe.model import Wait

Key = tuple[str, str]
Place = tuple[str, int, str]
"""Time, number and name: the order in which jobs of a namespace begin, and in which finished ones go. Times of objects
have no parts of a second: within one, the order counts in which the watch told of them.
"""
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 600.0


@dataclass
class _Namespace:
    """The jobs of one namespace, by name."""

    begun: dict[str, str] = field(default_factory=dict)
    """UIDs of jobs that have begun and not ended."""
    waiting: list[Place] = field(default_factory=list)
    """The jobs that have not begun."""
    ended: list[Place] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    """The entry of a name in one of the two lists."""
    told: int = 0
    """How many places have been assigned."""
    maxima: dict[str, int] = field(default_factory=dict)
    """The maxima when they were last read."""

    def take_out(self, name: str) -> None:
        """Forget a job."""
        self.begun.pop(name, None)
        if (place := self.places.pop(name, None)) is not None:
            for places in (self.waiting, self.ended):
                if _holds(places, place):
                    del places[bisect_left(places, place)]

    def put(self, places: list[Place], name: str, when: str) -> Place:
        """Put a job into one of the lists; a job that is there already keeps its place."""
        known = self.places.get(name)
        if known is not None and known[0] == when and _holds(places, known):
            return known
        self.take_out(name)
        self.told += 1
        self.places[name] = (when, self.told, name)
        insort(places, self.places[name])
        return self.places[name]

    def room(self, maxima: Maxima) -> int:
        """Return how many more may begin."""
        return max(0, self.maxima.get(LIVE_JOBS, maxima.live_jobs_per_namespace) - len(self.begun))

    def may_begin(self, name: str, maxima: Maxima) -> bool:
        """Whether there is room for a job that has not begun, and for all before it."""
        place = self.places.get(name)
        return place is None or bisect_left(self.waiting, place) < self.room(maxima)

    def due(self, maxima: Maxima) -> Iterator[str]:
        """Yield the names of jobs for which there is room now, and of the surplus finished ones."""
        yield from (name for _, _, name in self.waiting[: self.room(maxima)])
        kept = self.maxima.get(FINISHED_JOBS, maxima.finished_jobs_per_namespace)
        if kept:
            yield from (name for _, _, name in self.ended[: max(0, len(self.ended) - kept)])


def _holds(places: list[Place], place: Place) -> bool:
    index = bisect_left(places, place)
    return places[index : index + 1] == [place]


class Census:
    """All jobs that are known. Not thread-safe: it belongs to one event loop."""

    def __init__(self, maxima: Maxima, wake: Callable[[Key], None], *, clock: Callable[[], float] = time.monotonic):
        self._maxima = maxima
        self._wake = wake
        self._clock = clock
        self._namespaces: dict[str, _Namespace] = {}
        self._told: set[str | None] = set()
        """Namespaces whose initial jobs are all known. None: those of every namespace are."""
        self._held: set[Key] = set()
        """Jobs that were looked at before that."""
        self._pauses: dict[Key, tuple[float, float]] = {}
        """Of jobs that wait: until when no look is needed, and how long that pause was."""

    def complete(self, namespace: str) -> bool:
        """Whether all jobs of a namespace are known, before which nothing can be counted. No namespace waits for
        another, whose LIST may be refused for ever.
        """
        return namespace in self._told or None in self._told

    def all_told(self, namespace: str | None) -> None:
        """Note that all initial jobs are known: in a namespace, or (None) everywhere."""
        self._told.add(namespace)
        for known in [n for n in self._namespaces if self.complete(n)]:
            self._call(known)
        for key in [k for k in self._held if self.complete(k[0])]:
            self._held.discard(key)
            self._wake(key)

    def holds(self, key: Key) -> bool:
        """Whether a job cannot begin because its namespace is not fully known yet; it is woken once it is."""
        namespace, name = key
        jobs = self._namespaces.get(namespace)
        if self.complete(namespace) or jobs is None or (place := jobs.places.get(name)) is None:
            return False
        if held := _holds(jobs.waiting, place):
            self._held.add(key)
        return held

    def saw(self, key: Key, sight: Sight) -> None:
        """Note the facts about a job."""
        namespace, name = key
        jobs = self._namespaces.setdefault(namespace, _Namespace())
        begun = sight.begun or jobs.begun.get(name) == sight.uid
        if sight.ended:
            jobs.put(jobs.ended, name, sight.ended)
        elif sight.suspended:
            held = name in jobs.begun or name in jobs.places
            jobs.take_out(name)
            if held:
                self._call(namespace)
        elif begun:
            jobs.take_out(name)
            jobs.begun[name] = sight.uid
        else:
            jobs.put(jobs.waiting, name, sight.created)
        if sight.ended or begun:
            self._pauses.pop(key, None)
        if sight.ended:
            self._call(namespace)

    def gone(self, key: Key) -> None:
        """Note that a job was deleted."""
        if (jobs := self._namespaces.get(key[0])) is not None:
            jobs.take_out(key[1])
            self._call(key[0])
            if not jobs.begun and not jobs.places:
                del self._namespaces[key[0]]
        self._pauses.pop(key, None)
        self._held.discard(key)

    def pause(self, key: Key) -> float | None:
        """Return for how many more seconds a job that waits needs no look; None if it needs one."""
        until, _ = self._pauses.get(key, (0.0, 0.0))
        left, jobs = until - self._clock(), self._namespaces.get(key[0])
        return left if left > 0 and jobs is not None and not jobs.may_begin(key[1], self._maxima) else None

    def changed(self, key: Key) -> None:
        """Note that a job was changed: it may have been suspended, which has to show at once."""
        if (known := self._pauses.get(key)) is not None:
            self._pauses[key] = 0.0, known[1]

    def turn(self, key: Key, sight: Sight, annotations: Mapping[str, str]) -> Wait | None:
        """Decide whether a job goes ahead, and count it as begun if it does."""
        namespace, name = key
        jobs = self._namespaces.setdefault(namespace, _Namespace())
        if jobs.begun.get(name) == sight.uid:
            return None
        most = self._most(jobs, namespace, LIVE_JOBS, annotations)
        earlier = bisect_left(jobs.waiting, jobs.put(jobs.waiting, name, sight.created))
        wait = admission.turn(begun=len(jobs.begun), earlier=earlier, most=most)
        if wait is None:
            self.begin(key, sight)
            return None
        _, last = self._pauses.get(key, (0.0, 0.0))
        pause = min(max(FIRST_PAUSE, 2 * last), LONGEST_PAUSE)
        self._pauses[key] = (self._clock() + pause, pause)
        return wait

    def begin(self, key: Key, sight: Sight) -> None:
        """Count a job as begun, whatever its status says."""
        namespace, name = key
        jobs = self._namespaces.setdefault(namespace, _Namespace())
        jobs.take_out(name)
        jobs.begun[name] = sight.uid
        self._pauses.pop(key, None)

    def surplus(self, key: Key, annotations: Mapping[str, str]) -> int:
        """Return how many finished jobs the namespace keeps, if this one is surplus; else 0."""
        namespace, name = key
        jobs = self._namespaces.get(namespace)
        if jobs is None or (place := jobs.places.get(name)) is None:
            return 0
        known = jobs.maxima.get(FINISHED_JOBS)
        most = self._most(jobs, namespace, FINISHED_JOBS, annotations).value
        if most != known:
            self._call(namespace)
        later = len(jobs.ended) - bisect_left(jobs.ended, place) - 1
        return most if admission.surplus(later=later, most=most) else 0

    def _most(self, jobs: _Namespace, namespace: str, name: str, annotations: Mapping[str, str]) -> Maximum:
        """Return a maximum; the operator's own if the annotation is malformed, which the job's plan reports."""
        found = maximum(name, self._maxima, annotations, namespace)
        if isinstance(found, str):
            found = maximum(name, self._maxima, {}, namespace)
        assert isinstance(found, Maximum)  # without annotations there is nothing to misread
        jobs.maxima[name] = found.value
        return found

    def _call(self, namespace: str) -> None:
        """Wake the jobs that may go ahead now, or are surplus."""
        if self.complete(namespace):
            for name in self._namespaces[namespace].due(self._maxima):
                self._wake((namespace, name))
