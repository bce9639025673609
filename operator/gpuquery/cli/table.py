"""`gpuquery history`, `fsck`, `rollback` and `publish`: what was committed to a table, is it whole, back and forth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gpuquery.api.pods import AzStorage, GsStorage
from gpuquery.cli.show import remark, say
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import local

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from gpuquery.runner.output.fsck import Health
    from gpuquery.runner.output.record import CommitRecord

_HEAD = ("VERSION", "COMMITTED (UTC)", "JOB", "MODE", "ROWS", "FILES", "BYTES", "REPLACED")


def show_history(chosen: argparse.Namespace) -> bool:
    """Print the newest commits to a table; returns whether there is a table. Raises JobError."""
    records = local.history(chosen.uri, access_of(chosen), last=chosen.last)
    if chosen.output == "json":
        print(json.dumps([_told(record) for record in records], indent=2))
    elif records:
        for line in _table([_HEAD, *(_row(record) for record in records)]):
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
    record = local.roll_back(chosen.uri, access_of(chosen), chosen.to)
    if chosen.output == "json":
        print(json.dumps(_told(record), indent=2))
    else:
        say(
            f"{chosen.uri}: version {record.version} makes the table what it was at version {record.restores}, without "
            f"the {len(record.remove):,} files that came later"
        )
    return True


def publish(chosen: argparse.Namespace) -> bool:
    """Move a branch to the end of another one, and say what was done; returns True. Raises JobError."""
    move = local.publish(chosen.uri, access_of(chosen), chosen.branch, chosen.to, drop=chosen.drop)
    if chosen.output == "json":
        told = {"branch": move.branch, "before": move.was, "snapshot": move.now, "snapshots": move.steps}
        print(json.dumps({"table": chosen.uri, **told, "dropped": bool(move.drop)}, indent=2))
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


def _told(record: CommitRecord) -> dict[str, Any]:
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
    return f"{uri}: no job of GpuQuery has committed anything here; write the output.uri of a job"
