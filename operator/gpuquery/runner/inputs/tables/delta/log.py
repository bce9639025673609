"""The log of a Delta table: which files of it make up one version.

A version is the newest complete checkpoint at or before it, and all commits after that. The protocol's sections "Delta
Log Entries", "Checkpoints" and "Log Compaction Files" say what there is:
https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuquery.runner import stores
from gpuquery.runner.inputs.tables.delta.place import LOG

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuquery.runner.inputs.tables.delta.place import Folder
    from gpuquery.runner.stores.base import Stored

LAST = f"{LOG}_last_checkpoint"
MAX_SHOWN = 5
_COMMIT = re.compile(r"(\d{20})\.json")
_COMPACTED = re.compile(r"(\d{20})\.(\d{20})\.compacted\.json")
_CHECKPOINT = re.compile(
    r"(?P<version>\d{20})\.checkpoint\."
    r"(?:(?P<part>\d{10})\.(?P<parts>\d{10})\.parquet|(?P<uuid>[0-9A-Za-z-]{36})\.(?:json|parquet)|parquet)"
)


@dataclass
class Log:
    """What a listing of the log shows. Versions are in order."""

    commits: dict[int, int] = field(default_factory=dict)
    """Versions, each with the time when its commit was written, in microseconds since 1970."""
    compacted: dict[int, list[int]] = field(default_factory=dict)
    """First versions of compacted commits, each with their last ones."""
    checkpoints: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Versions of complete checkpoints with the keys of their files."""

    def __bool__(self) -> bool:
        """Whether there is anything to read."""
        return bool(self.commits or self.checkpoints)

    @property
    def newest(self) -> int:
        """The newest version."""
        return max([*self.commits, *self.checkpoints])

    @property
    def oldest(self) -> int:
        """The oldest version that can be read."""
        return 0 if 0 in self.commits else min(self.checkpoints, default=min(self.commits, default=0))


@dataclass(frozen=True)
class Segment:
    """The files that make up one version, in order: a checkpoint, if there is one, and commits."""

    version: int
    checkpoint: tuple[str, ...]
    commits: tuple[str, ...]


def commit_key(version: int) -> str:
    """Key of the commit of a version."""
    return f"{LOG}{version:020d}.json"


def last_version(key: str) -> int:
    """The newest version of which a commit, a compacted file or a checkpoint has actions."""
    name = key.rpartition("/")[2]
    return int(match[2] if (match := _COMPACTED.fullmatch(name)) else name.partition(".")[0])


def listed(table: Folder, *, until: int | None = None) -> Log:
    """List the log; from its last checkpoint on, where no version before that is asked for.

    `until` is the version that is asked for; None is the newest, -1 is any. Raises JobError if it is no Delta table.
    """
    found = looked_for(table, until=until)
    if not found:
        raise _no_table(table)
    return found


def looked_for(table: Folder, *, until: int | None = None) -> Log:
    """List the log as `listed` does; what is false if there is none."""
    start = _last_checkpoint(table)
    if start is not None and (until is None or until >= start):
        found = _parsed(table.store.list(LOG, f"{LOG}{start:020d}"))
        if start in found.checkpoints:
            return found
    return _parsed(table.store.list(LOG))


def segment(table: Folder, log: Log, version: int) -> Segment:
    """Choose the files of a version. Raises JobError if it is not there, or if one of its files is missing."""
    if not log.oldest <= version <= log.newest:
        raise table.refused(f"there is no version {version}: versions {log.oldest} to {log.newest} can be read")
    begin = max((one for one in log.checkpoints if one <= version), default=-1)
    names, at = [], begin + 1
    while at <= version:
        last = max((end for end in log.compacted.get(at, ()) if end <= version), default=None)
        if last is None and at not in log.commits:
            raise _gap(table, log, begin, at, version)
        names.append(commit_key(at) if last is None else f"{LOG}{at:020d}.{last:020d}.compacted.json")
        at = (at if last is None else last) + 1
    return Segment(version, log.checkpoints.get(begin, ()), tuple(names))


def _parsed(found: Iterable[Stored]) -> Log:
    log = Log()
    parts: dict[tuple[int, int], dict[int, str]] = {}
    for one in found:
        name = one.key.removeprefix(LOG)
        if match := _COMMIT.fullmatch(name):
            log.commits[int(match[1])] = int(one.modified * 1_000_000)
        elif match := _COMPACTED.fullmatch(name):
            log.compacted.setdefault(int(match[1]), []).append(int(match[2]))
        elif match := _CHECKPOINT.fullmatch(name):
            version = int(match["version"])
            if match["parts"] is None:
                # Any complete one will do. The classic one, which every reader knows, sorts last.
                log.checkpoints[version] = (one.key,)
            else:
                parts.setdefault((version, int(match["parts"])), {})[int(match["part"])] = one.key
    for (version, count), keys in parts.items():
        if sorted(keys) == list(range(1, count + 1)):  # of one that is not complete, its writer has died
            log.checkpoints.setdefault(version, tuple(keys[part] for part in sorted(keys)))
    return log


def _last_checkpoint(table: Folder) -> int | None:
    """The version of the newest checkpoint, as the log's own hint has it; a broken hint is none."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        if (body := table.store.get(LAST)) is not None:
            return int(json.loads(body)["version"])
    return None


def _no_table(table: Folder) -> Exception:
    root = table.root
    place = stores.locate(root)
    names = stores.of(root).names(place, f"{place.prefix}/" if place.prefix else "", table.access)
    if not names:
        return table.refused(f"there is nothing in {root}/: correct uri, the root of the table")
    shown = ", ".join(names[:MAX_SHOWN]) + (", ..." if len(names) > MAX_SHOWN else "")
    if LOG in names:
        return table.refused(f"{root}/{LOG} holds neither a commit nor a complete checkpoint")
    hint = "correct uri, the root of the table, or remove delta to read plain files"
    if "metadata/" in names:
        hint = "it may be an Iceberg table: write table with its catalog and name, in place of uri and delta"
    return table.refused(f"it is no Delta table, for it has no folder {LOG}; there is {shown}: {hint}")


def _gap(table: Folder, log: Log, begin: int, missing: int, version: int) -> Exception:
    name = f"{table.root}/{commit_key(missing)}"
    if begin < 0 and missing == 0:
        first = min(log.commits)
        return table.refused(
            f"its log begins with version {first}, and no complete checkpoint at or before version {version} is there, "
            f"so the files of version {version} are not known: restore the log, or read a version from "
            f"{log.oldest} on"
        )
    later = [one for one in log.checkpoints if one > missing]
    way = f", or read version {min(later)} or a later one" if later else f", or read version {missing - 1}"
    return table.refused(f"its log has a gap: {name} is missing: restore this file{way}")
