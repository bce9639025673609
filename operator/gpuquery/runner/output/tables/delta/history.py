"""What was committed to a Delta table, by the entries of its log that are still there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gpuquery.api.text import clean
from gpuquery.runner.inputs.tables.delta import log
from gpuquery.runner.output.tables.delta.commit import outcome
from gpuquery.runner.output.tables.delta.state import APP, Commit, actions_of
from gpuquery.runner.output.tables.versions import Version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.runner.output.tables.delta.place import Target

_LONGEST = 1 << 44
"""Milliseconds since 1970 that are no time."""


def history(target: Target, last: int) -> Sequence[Version]:
    """Return the newest versions, at most so many, newest first. Raises JobError."""
    written = log.listed(target, until=-1).commits
    newest = sorted(written, reverse=True)[:last]
    bodies = target.store.parallel(target.store.get, [log.commit_key(one) for one in newest])
    return [_told(version, body or b"", written[version]) for version, body in zip(newest, bodies, strict=True)]


def _told(version: int, body: bytes, written: int) -> Version:
    """`written` is when its entry was written, in microseconds since 1970."""
    found = actions_of(body)
    info = next((one for action in found if isinstance(one := action.get("commitInfo"), dict)), {})
    apps = [str(one.get("appId", "")) for action in found if isinstance(one := action.get("txn"), dict)]
    ours = next((app.split("/") for app in apps if app.startswith(APP) and app.count("/") == 3), None)
    made = outcome(Commit(version, True, [one for action in found if isinstance(one := action.get("add"), dict)], info))
    at = info.get("inCommitTimestamp", info.get("timestamp"))
    milliseconds = at if isinstance(at, int) and 0 <= at < _LONGEST else written // 1000
    return Version(
        version=str(version),
        created=datetime.fromtimestamp(milliseconds / 1000, UTC),
        job=clean("/".join(ours[1:3]), 320) if ours else "",
        uid=clean(ours[3], 128) if ours else "",
        writer=clean(str(info.get("engineInfo") or ""), 60),
        operation=_operation(info),
        rows=made.rows,
        files=made.files,
        bytes=made.bytes,
        replaced=sum(isinstance(action.get("remove"), dict) for action in found),
    )


def _operation(info: dict[str, Any]) -> str:
    given = info.get("operationParameters")
    given = given if isinstance(given, dict) else {}
    more = f" to {given['version']}" if given.get("version") is not None else f" {given.get('mode') or ''}"
    return clean(f"{info.get('operation') or ''}{more}".strip(), 40)
