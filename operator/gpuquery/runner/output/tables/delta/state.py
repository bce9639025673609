"""The table at its newest version, as its log has it, kept up to date commit by commit.

Each commit is built for the version right before it: if another one came first, it is read, and the commit is built
anew. So what a commit removes is always exact, and no rule about conflicts is needed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.tables.delta import actions, log
from gpuquery.runner.output.tables.delta import checkpoint, features

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpuquery.runner.inputs.tables.delta.actions import Snapshot
    from gpuquery.runner.output.tables.delta.place import Target

APP = "gpuquery/"
"""How the ids of our application transactions begin."""
APP_VERSION = 1
"""Version of a job's application transaction: a job commits once."""


@dataclass(frozen=True)
class Commit:
    """A commit of ours, as the log has it."""

    version: int
    """Its version; once the log was cleaned up and nobody knows it, that of a later checkpoint or compacted file."""
    known: bool
    """Whether its entry of the log is still there."""
    added: Sequence[dict[str, Any]]
    """The actions that add its files."""
    info: dict[str, Any]
    """What its writer says of it: a claim."""

    @property
    def paths(self) -> frozenset[str]:
        """Paths of its files, relative to the table."""
        return frozenset(unquote(str(one.get("path", ""))) for one in self.added)


@dataclass
class State:
    """The newest version that was seen."""

    target: Target
    snapshot: Snapshot | None = None
    """None: there is no table."""
    clock: int = 0
    """The time in the newest commit, in milliseconds since 1970, where commits must hold one; else 0."""

    _checkpoint: int = -1
    """The version of the last checkpoint that was seen."""
    _mine: dict[str, bytes] = field(default_factory=dict)
    """The entry that was created here."""

    @property
    def next_version(self) -> int:
        """The version that a commit now makes."""
        return self.snapshot.version + 1 if self.snapshot else 0

    @property
    def next_key(self) -> str:
        """Key of the commit that makes it."""
        return log.commit_key(self.next_version)

    def load(self) -> None:
        """Read the log from its last checkpoint on. Raises JobError."""
        found = log.looked_for(self.target)
        self.snapshot = None
        if found:
            self._checkpoint = max(found.checkpoints, default=-1)
            self.snapshot = self._replayed(log.segment(self.target, found, found.newest))
        self.advance()

    def advance(self) -> None:
        """Read the commits that have come since. Raises JobError.

        By their names, for a listing may be behind: whoever takes a table for none removes the files that it names.
        """
        if self.snapshot is None:
            if self.target.store.size(self.next_key) is None:
                return
            self.snapshot = self._replayed(log.Segment(0, (), (self.next_key,)))
        while (body := self.target.store.get(self.next_key)) is not None:
            actions.followed(self.target, self.snapshot, self.next_key, body)
            self.clock = _clock(body)

    def _replayed(self, files: log.Segment) -> Snapshot:
        found = actions.replayed(self.target, files)
        self.clock = 0
        if features.times_in_commits(found):
            self.clock = _clock(self.target.store.get(log.commit_key(files.version)) or b"")
        return found

    def commit(self, body: bytes) -> bool:
        """Create the next entry, if nobody has; if nobody says whether it is there, look.

        Whoever created it, it has been read then, unless it cannot be seen yet. Returns whether this call created it
        for certain. Raises JobError if nobody says, and none is there.
        """
        key = self.next_key
        try:
            created = self.target.store.create(key, body)
        except JobError:
            version = self.next_version
            self.advance()
            if self.next_version == version:
                raise
            return False
        if not created:
            self.advance()
            return False
        self.snapshot = self.snapshot or actions.Snapshot(-1)
        actions.followed(self.target, self.snapshot, key, body)
        self.clock = _clock(body)
        self._mine = {key: body}
        return True

    def checkpoint(self) -> None:
        """Write a checkpoint if the last one is long ago; what goes wrong is only logged."""
        snapshot = self.snapshot
        if snapshot is not None and snapshot.version - self._checkpoint >= checkpoint.interval(snapshot):
            checkpoint.write(self.target, snapshot)

    def has(self, app: str) -> bool:
        """Whether an application transaction is committed."""
        return self.snapshot is not None and self.snapshot.transactions.get(app, (0, ""))[0] >= APP_VERSION

    def apps(self, wanted: Callable[[str], bool]) -> list[str]:
        """Return the ids of application transactions of ours that someone wants."""
        found = self.snapshot.transactions if self.snapshot else {}
        return [app for app in found if app.startswith(APP) and wanted(app)]

    def paths(self) -> set[str]:
        """Return the paths of all files of the newest version, relative to the table."""
        return {unquote(one.path) for one in self.snapshot.files.values()} if self.snapshot else set()

    def commit_of(self, app: str) -> Commit:
        """Return the commit of a transaction that is there."""
        assert self.snapshot is not None
        key = self.snapshot.transactions[app][1]
        version = log.last_version(key)
        if not key.endswith(f"{version:020d}.json"):
            version, key = self._searched(app, version)
        lines = actions_of(self._mine.get(key) or self.target.store.get(key) or b"") if key else []
        added = [found for one in lines if isinstance(found := one.get("add"), dict)]
        info = next((found for one in lines if isinstance(found := one.get("commitInfo"), dict)), {})
        return Commit(version, bool(lines), added, info)

    def _searched(self, app: str, newest: int) -> tuple[int, str]:
        """Look for a transaction in the commits up to a version, from the newest on."""
        found = log.looked_for(self.target, until=-1)
        for version in sorted((one for one in found.commits if one <= newest), reverse=True):
            body = self.target.store.get(log.commit_key(version)) or b""
            if app.encode() in body and any((one.get("txn") or {}).get("appId") == app for one in actions_of(body)):
                return version, log.commit_key(version)
        return newest, ""


def actions_of(body: bytes) -> list[dict[str, Any]]:
    """All actions of a commit; a line that is none is left out, for `actions.followed` has refused it."""
    found = []
    for line in body.split(b"\n"):
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if isinstance(one, dict):
            found.append(one)
    return found


def _clock(body: bytes) -> int:
    for one in actions_of(body.split(b"\n", 1)[0]):
        told = (one.get("commitInfo") or {}).get("inCommitTimestamp")
        if isinstance(told, int) and 0 <= told < 1 << 62:
            return told
    return 0
