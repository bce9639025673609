"""`gpuquery history`, `fsck`, `rollback` and `publish`: what was committed to a table, is it whole, back and forth."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gpuquery.api.pods import AzStorage, GsStorage
from gpuquery.cli.show import remark, say
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import local
from gpuquery.runner.output.record import CommitRecord
from gpuquery.runner.output.tables.delta.rollback import Restored
from gpuquery.runner.output.tables.versions import Version

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from gpuquery.runner.output.fsck import Health
    from gpuquery.runner.output.tables.iceberg.publish import Move

_HEAD = ("VERSION", "COMMITTED (UTC)", "JOB", "MODE", "ROWS", "FILES", "BYTES", "REPLACED")


def show_history(chosen: argparse.Namespace) -> bool:
    """Print the newest commits to a table; returns whether there is a table. Raises JobError."""
    records = local.history(chosen.uri, access_of(chosen), last=chosen.last)
    if chosen.output == "json":
        print(json.dumps([_told(record) for record in records], indent=2))
    elif records:
        for line in _table(_rows(records)):
            say(line)
    if not records:
        remark(_nothing(chosen.uri))
    return bool(records)


def show_health(chosen: argparse.Namespace) -> bool:
    """Check a table, and repair it if asked to; returns whether nothing is wrong. Raises JobError."""
    health = local.check_table(chosen.uri, access_of(chosen), deep=chosen.deep, repair=chosen.repair, void=chosen.void)
    if chosen.output == "json":
        print(json.dumps({"uri": chosen.uri, "good": health.good, **_summary(health)}, indent=2))
        return health.good
    for one in health.findings:
        say(f"{one.level}: {one.what}{one.way and ': '}{one.way}")
    if not health.versions and not health.findings:
        remark(_nothing(chosen.uri))
        return False
    compared = f"; the bytes of {health.compared:,} files are those that were uploaded" if health.compared else ""
    say(
        f"{chosen.uri}: {health.versions:,} versions, {health.rows:,} rows in {health.files:,} files, "
        f"{health.bytes / 1e6:,.1f} MB: {'nothing is wrong' if health.good else 'see above'}{compared}"
    )
    return health.good


def roll_back(chosen: argparse.Namespace) -> bool:
    """Go back to a version, and say what was done; returns True. Raises JobError."""
    done = local.roll_back(chosen.uri, access_of(chosen), chosen.to)
    if chosen.output == "json":
        print(json.dumps(_done(chosen, done), indent=2))
    elif isinstance(done, CommitRecord | Restored):
        removed = len(done.remove) if isinstance(done, CommitRecord) else done.removed
        again = f", and with {done.added:,} that were gone" if isinstance(done, Restored) and done.added else ""
        say(
            f"{chosen.uri}: version {done.version} makes the table what it was at version {done.restores}, without "
            f"the {removed:,} files that came later{again}"
        )
    elif done.steps:
        say(
            f"{chosen.uri}: {done.branch} is at snapshot {done.now} again, without the {-done.steps:,} snapshots "
            "since, which stay until somebody expires them; the table's columns are those of today"
        )
    else:
        say(f"{chosen.uri}: {done.branch} is at snapshot {done.now} already")
    return True


def publish(chosen: argparse.Namespace) -> bool:
    """Move a branch to the end of another one, and say what was done; returns True. Raises JobError."""
    move = local.publish(chosen.uri, access_of(chosen), chosen.branch, chosen.to, drop=chosen.drop)
    if chosen.output == "json":
        print(json.dumps(_moved(chosen, move), indent=2))
        return True
    if move.steps:
        say(f"{chosen.uri}: {move.branch} has {move.steps:,} more snapshots now, those of {chosen.branch}")
    else:
        say(f"{chosen.uri}: there is nothing to publish: {move.branch} has all snapshots of {chosen.branch}")
    if move.drop:
        say(f"{chosen.uri}: the branch {move.drop} is gone")
    return True


def access_of(chosen: argparse.Namespace) -> StoreAccess:
    """Return where the store is, by the arguments."""
    if chosen.endpoint and chosen.uri.startswith("gs://"):
        return StoreAccess(gs=GsStorage(endpoint=chosen.endpoint))
    if chosen.endpoint and chosen.uri.startswith(("az://", "abfss://")):
        return StoreAccess(az=AzStorage(endpoint=chosen.endpoint, account=urlsplit(chosen.endpoint).path.strip("/")))
    return StoreAccess(endpoint=chosen.endpoint, path_style=bool(chosen.endpoint), region=chosen.region)


def _summary(health: Health) -> dict[str, Any]:
    return {
        "versions": health.versions,
        "files": health.files,
        "rows": health.rows,
        "bytes": health.bytes,
        "compared": health.compared,
        "findings": [{"level": one.level.value, "what": one.what, "way": one.way} for one in health.findings],
    }


def _done(chosen: argparse.Namespace, done: CommitRecord | Restored | Move) -> dict[str, Any]:
    if isinstance(done, CommitRecord):
        return _told(done)
    return {"table": chosen.uri, **asdict(done)} if isinstance(done, Restored) else _moved(chosen, done)


def _moved(chosen: argparse.Namespace, move: Move) -> dict[str, Any]:
    # Snapshots are told as texts: many programs round such large numbers.
    before, now = (None if one is None else str(one) for one in (move.was, move.now))
    told = {"branch": move.branch, "before": before, "snapshot": now, "snapshots": move.steps}
    return {"table": chosen.uri, **told, "dropped": bool(move.drop)}


def _told(record: CommitRecord | Version) -> dict[str, Any]:
    if isinstance(record, Version):
        return {**asdict(record), "created": record.created.isoformat() if record.created else None}
    return {
        "version": record.version,
        "created": record.created.isoformat(),
        "job": {"namespace": record.job.namespace, "name": record.job.name, "uid": record.job.uid},
        "attempt": record.attempt,
        "mode": record.mode,
        "restores": record.restores,
        "rows": record.rows,
        "files": len(record.add),
        "bytes": record.bytes,
        "replaced": len(record.remove),
        "columns": {column.name: column.type for column in record.columns},
        "partitionBy": list(record.partition_by),
        "inputs": [one.model_dump() for one in record.inputs],
        "expectations": list(record.expectations),
    }


def _rows(found: Sequence[CommitRecord | Version]) -> Sequence[tuple[str, ...]]:
    rows = [_HEAD, *(_row(one) if isinstance(one, CommitRecord) else _row_of(one) for one in found)]
    ends = [", ".join(one.branches) if isinstance(one, Version) else "" for one in found]
    return [(*row, end) for row, end in zip(rows, ("BRANCHES", *ends), strict=True)] if any(ends) else rows


def _row_of(one: Version) -> tuple[str, ...]:
    created = f"{one.created:%Y-%m-%d %H:%M:%S}" if one.created else ""
    counts = (f"{number:,}" for number in (one.rows, one.files, one.bytes, one.replaced))
    return (one.version, created, one.job or (one.writer and f"({one.writer})"), one.operation, *counts)


def _row(record: CommitRecord) -> tuple[str, ...]:
    return (
        str(record.version),
        f"{record.created:%Y-%m-%d %H:%M:%S}",
        "/".join(filter(None, (record.job.namespace, record.job.name))),
        f"{record.mode} to {record.restores}" if record.restores else record.mode,
        f"{record.rows:,}",
        f"{len(record.add):,}",
        f"{record.bytes:,}",
        f"{len(record.remove):,}",
    )


def _table(rows: Sequence[tuple[str, ...]]) -> Sequence[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _nothing(uri: str) -> str:
    return f"{uri}: no job of GpuQuery has committed anything here; write the output.uri of a job, or CATALOG:TABLE"
