"""Ability: whether the operator can do its work, by the API server's latest answers.

A refusal (401, 403) and no answer are different things. A refusal concerns this process, its account or its
credentials, and everybody should see it: a process that has been refused for minutes is not alive, because a new one
reads fresh credentials. An API server that is down is down for everyone, and restarting the operator does not help; the
process is given up only after a long time, in case its own connection is broken. (A leader ends much earlier, because
it loses its Lease: see kube/lease.py.)

A refusal in one namespace concerns that namespace: its Role, or its webhook. It must not stop the work for the others,
so a process that is able in one namespace is able.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LATELY_SECONDS = 30.0
"""How long a failure may last before the operator is not ready. An election gives up its Lease sooner."""
REFUSED_SECONDS = 180.0
"""How long refusals may last before the operator is not alive."""
AWAY_SECONDS = 1800.0
"""How long any failure may last before the operator is not alive. A leader has lost its Lease by then."""
REFUSALS = (401, 403)


@dataclass
class Ability:
    """One thing that the operator must be able to do."""

    what: str
    """In words that follow "cannot": "read the Lease a/b"."""
    needed: bool = True
    """Whether it must have succeeded once before the operator is ready."""
    _ever: bool = False
    _failing_since: float | None = None
    _refused_since: float | None = None
    _why: str = ""

    def succeeded(self) -> None:
        """Note that it was done."""
        self._ever, self._failing_since, self._refused_since, self._why = True, None, None, ""

    def failed(self, status: int, why: str) -> None:
        """Note that it failed: with a status of HTTP, or 0 where there was no answer."""
        now, self._why = time.monotonic(), why
        if self._failing_since is None:
            self._failing_since = now
        if status not in REFUSALS:
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = now

    @property
    def untried(self) -> bool:
        """Whether it must be done once, and has neither succeeded nor failed."""
        return self.needed and not self._ever and not self._why

    def missing(self) -> str | None:
        """Say why the operator is not ready; None if it is."""
        if not self._ever and self.needed:
            return f"cannot {self.what}: {self._why}" if self._why else f"has yet to {self.what}"
        return f"cannot {self.what}: {self._why}" if _age(self._failing_since) > LATELY_SECONDS else None

    def lost(self) -> str | None:
        """Say why the process should end; None if it should go on."""
        if (refused := _age(self._refused_since)) > REFUSED_SECONDS:
            return f"cannot {self.what}: refused for {refused:.0f} s: {self._why}"
        if (failing := _age(self._failing_since)) > AWAY_SECONDS:
            return f"cannot {self.what}: it has failed for {failing:.0f} s: {self._why}"
        return None


@dataclass(frozen=True)
class InNamespaces:
    """The same ability in several namespaces, each separately. None: in all at once."""

    places: Mapping[str | None, Ability]

    def missing(self) -> str | None:
        """Say why the operator is not ready: one namespace has not been tried yet, or all fail."""
        if untried := next((a.missing() for a in self.places.values() if a.untried), None):
            return untried
        words = [ability.missing() for ability in self.places.values()]
        return "; ".join(filter(None, words)) if all(words) else None

    def lost(self) -> str | None:
        """Say why the process should end: all have failed for too long."""
        words = [ability.lost() for ability in self.places.values()]
        return "; ".join(filter(None, words)) if all(words) else None

    def partly(self) -> str:
        """Say what fails in some namespaces; empty if nothing does."""
        return "; ".join(filter(None, (ability.missing() for ability in self.places.values())))


@dataclass
class _Refusal:
    first: float
    last: float
    why: str


@dataclass
class Writes:
    """Whether the status of jobs can be written: it cannot while the latest tries were all refused.

    Refusals in one namespace alone, whose Role or webhook may be the cause, do not end the process. Neither does a
    refusal that was not tried again: only the time between tries counts.
    """

    what: str = "write the status of jobs"
    _refused: dict[tuple[str, str], _Refusal] = field(default_factory=dict)

    def succeeded(self) -> None:
        """Note that a status was written."""
        self._refused.clear()

    def refused(self, key: tuple[str, str], why: str) -> None:
        """Note that the status of a job was refused."""
        now = time.monotonic()
        found = self._refused.setdefault(key, _Refusal(now, now, why))
        found.last, found.why = now, why

    def forget(self, key: tuple[str, str]) -> None:
        """Drop a job whose status no longer has to be written."""
        self._refused.pop(key, None)

    def missing(self) -> str | None:
        """Say why the operator is not ready; None if it is."""
        late = (r for r in self._refused.values() if _age(r.first) > LATELY_SECONDS)
        return next((f"cannot {self.what}: {refusal.why}" for refusal in late), None)

    def lost(self) -> str | None:
        """Say why the process should end: two namespaces were refused again and again."""
        long = {key: r for key, r in self._refused.items() if r.last - r.first > REFUSED_SECONDS}
        if len({namespace for namespace, _ in long}) < 2:
            return None
        refusal = next(iter(long.values()))
        return f"cannot {self.what}: refused for {refusal.last - refusal.first:.0f} s: {refusal.why}"


def _age(since: float | None) -> float:
    return 0.0 if since is None else time.monotonic() - since
