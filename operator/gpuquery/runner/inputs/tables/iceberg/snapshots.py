"""Which snapshot of a table is read, and with which schema.

A snapshot by id, time or tag has the schema that it was written with; a branch and the current snapshot have that of
the table (https://iceberg.apache.org/docs/latest/branching/#schema-selection-with-branches-and-tags).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.api.spec import Input, TableInput

SHOWN = 5
_PIN = re.compile(r"iceberg:(\S+)@(none|\d+)/(\d+)")


@dataclass(frozen=True)
class Chosen:
    """A snapshot; None is that of a table without any."""

    snapshot: Any
    schema: Any
    pin: str
    """What finds it again: `iceberg:<table uuid>@<snapshot id>/<schema id>`."""


def choose(item: Input, metadata: Any, pinned: str) -> Chosen:
    """Choose as the input asks, or what an earlier attempt has read. Raises JobError."""
    assert item.table is not None
    if pinned:
        return _again(item, metadata, pinned)
    asked = item.table
    if asked.snapshot_id is not None:
        return _of_snapshot(item, metadata, _by_id(item, metadata, int(asked.snapshot_id)))
    if asked.as_of is not None:
        return _of_snapshot(item, metadata, _by_time(item, metadata, asked.as_of))
    if asked.branch is not None:
        ref = metadata.refs.get(asked.branch)
        if ref is None:
            raise _unknown_ref(item, metadata, asked.branch)
        snapshot = _by_id(item, metadata, ref.snapshot_id)
        if str(getattr(ref.snapshot_ref_type, "value", ref.snapshot_ref_type)) == "tag":
            return _of_snapshot(item, metadata, snapshot)
        return _made(metadata, snapshot, metadata.schema())
    current = metadata.current_snapshot()
    return _made(metadata, current, metadata.schema())


def _made(metadata: Any, snapshot: Any, schema: Any) -> Chosen:
    number = "none" if snapshot is None else snapshot.snapshot_id
    return Chosen(snapshot, schema, f"iceberg:{metadata.table_uuid}@{number}/{schema.schema_id}")


def _of_snapshot(item: Input, metadata: Any, snapshot: Any) -> Chosen:
    schema = metadata.schema()
    if snapshot.schema_id is not None:  # the snapshots of old writers do not say it
        schema = _schema(item, metadata, snapshot.schema_id)
    return _made(metadata, snapshot, schema)


def _schema(item: Input, metadata: Any, number: int) -> Any:
    found = next((one for one in metadata.schemas if one.schema_id == number), None)
    if found is None:
        raise _error(item, f"its metadata has no schema {number} any more: read a newer snapshot")
    return found


def _again(item: Input, metadata: Any, pinned: str) -> Chosen:
    found = _PIN.fullmatch(pinned)
    if found is None:
        raise _error(item, f"{pinned!r} names no snapshot of an Iceberg table")
    if str(metadata.table_uuid) != found[1]:
        raise _error(
            item, "it is another table now: one of this name was made anew after the job had begun: run the job again"
        )
    schema = _schema(item, metadata, int(found[3]))
    if found[2] == "none":
        return _made(metadata, None, schema)
    number = int(found[2])
    snapshot = metadata.snapshot_by_id(number)
    if snapshot is None:
        raise _error(
            item,
            f"snapshot {number}, which this job reads, has expired meanwhile: run the job again, for a newer one",
        )
    return _made(metadata, snapshot, schema)


def _by_id(item: Input, metadata: Any, number: int) -> Any:
    if (found := metadata.snapshot_by_id(number)) is not None:
        return found
    known = sorted(metadata.snapshots, key=lambda one: abs(one.snapshot_id - number))
    shown = [f"{one.snapshot_id} ({_when(one.timestamp_ms)})" for one in known[:SHOWN]]
    raise _error(
        item, f"it has no snapshot {number}: it expired, or is another table's{_list('; it has', shown, known)}"
    )


def _by_time(item: Input, metadata: Any, text: str) -> Any:
    moment = _moment(item, text)
    log = [one for one in metadata.snapshot_log if one.timestamp_ms <= moment]
    if log:
        return _by_id(item, metadata, max(log, key=lambda one: one.timestamp_ms).snapshot_id)
    first = min((one.timestamp_ms for one in metadata.snapshot_log), default=None)
    known = "it has no snapshot at all" if first is None else f"the first that is known is of {_when(first)}"
    raise _error(item, f"no snapshot was current at {text} (table.asOf): {known}")


def _moment(item: Input, text: str) -> int:
    """Milliseconds since 1970; a moment without a zone is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _error(item, f"table.asOf is {text!r}: write a moment in ISO 8601: 2026-01-31T12:00:00Z") from None
    passed = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (passed.days * 86_400 + passed.seconds) * 1000 + passed.microseconds // 1000


def _unknown_ref(item: Input, metadata: Any, name: str) -> JobError:
    known = list(metadata.refs)
    return _error(item, f'it has no branch or tag "{name}"{_list("; it has", closest(name, known), known)}')


def closest(name: str, known: Sequence[str]) -> list[str]:
    """A few known names, the most alike first."""
    near = difflib.get_close_matches(name, known, SHOWN, cutoff=0.5)
    return [*near, *(one for one in known if one not in near)][:SHOWN]


def _list(words: str, shown: Sequence[str], known: Sequence[Any]) -> str:
    if not shown:
        return ""
    return f"{words} {', '.join(shown)}{', ...' if len(known) > len(shown) else ''}"


def _when(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(item: Input, what: str) -> JobError:
    table: TableInput | None = item.table
    assert table is not None
    return JobError(
        Failure.INVALID_INPUT, f'input "{item.name}": table {table.name} of catalog {table.catalog}: {what}'
    )
