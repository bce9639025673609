"""The version of a moment: the newest one that was committed at or before it.

A commit's time is when its file was written. Where it is not later than that of the commit before, it counts as a
millisecond later, as in Delta's own readers. With in-commit timestamps the time stands in the commit itself.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.inputs.tables.delta.log import Log
    from gpuquery.runner.inputs.tables.delta.place import Table

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?:Z|[+-]\d{2}:?\d{2})?)?", re.ASCII)


def moment(table: Table, text: str) -> int:
    """Return microseconds since 1970 of an ISO 8601 text; without a time zone it is UTC. Raises JobError."""
    try:
        if not _MOMENT.fullmatch(text):
            raise ValueError
        found = datetime.fromisoformat(text)
    except ValueError:
        raise table.refused(
            f'delta.timestamp "{text}" is no moment: write it in ISO 8601, like "2026-01-31T12:00:00Z"'
        ) from None
    return ((found.replace(tzinfo=UTC) if found.tzinfo is None else found) - _EPOCH) // _MICROSECOND


def version_at(table: Table, log: Log, asked: int, configuration: Mapping[str, str]) -> int:
    """Return the newest version at a moment (microseconds since 1970). Raises JobError if the table is younger.

    `configuration` is that of the table's newest version.
    """
    versions = sorted(version for version in log.commits if version >= log.oldest)
    if not versions:
        raise table.refused("its log has no commits any more that tell a time: set delta.version")
    inside = len(versions)  # from here on the commits themselves tell the time
    if configuration.get("delta.enableInCommitTimestamps") == "true":
        enabled = int(configuration.get("delta.inCommitTimestampEnablementVersion", 0))
        inside = next((at for at, version in enumerate(versions) if version >= enabled), inside)
    before, times = versions[:inside], _written(log, versions[:inside])
    if inside < len(versions) and (found := _told(table, versions[inside:], asked)) is not None:
        return found
    if (found := max((v for v, time in zip(before, times, strict=True) if time <= asked), default=None)) is not None:
        return found
    first = times[0] if times else _in_commit(table, versions[0])
    when = (_EPOCH + first * _MICROSECOND).isoformat().replace("+00:00", "Z")
    raise table.refused(
        f"no version is as old as delta.timestamp: the oldest that can be read is version {log.oldest} of {when}"
    )


def _written(log: Log, versions: Sequence[int]) -> list[int]:
    times: list[int] = []
    for version in versions:
        time = log.commits[version]
        times.append(max(time, times[-1] + 1000) if times and time <= times[-1] else time)
    return times


def _told(table: Table, versions: Sequence[int], asked: int) -> int | None:
    """The newest of versions whose commits tell a time at or before the moment; it rises with the version."""
    low, high = 0, len(versions)
    while low < high:
        middle = (low + high) // 2
        if _in_commit(table, versions[middle]) <= asked:
            low = middle + 1
        else:
            high = middle
    return versions[low - 1] if low else None


def _in_commit(table: Table, version: int) -> int:
    """Microseconds since 1970, as a commit itself has it in its first line."""
    key = f"_delta_log/{version:020d}.json"
    body = table.store.get(key)
    try:
        assert body is not None
        return int(json.loads(body.partition(b"\n")[0])["commitInfo"]["inCommitTimestamp"]) * 1000
    except (AssertionError, ValueError, KeyError, TypeError):
        raise table.refused(
            f"{table.root}/{key} does not tell its time (commitInfo.inCommitTimestamp), as the table says that all "
            "commits do: set delta.version in place of delta.timestamp"
        ) from None
