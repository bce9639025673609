"""Checkpoints: the state of a Delta table at one version in one parquet file, so that nobody has to read older entries.

"Checkpoints" in the protocol (https://github.com/delta-io/delta/blob/master/PROTOCOL.md) says what is in them. Ours is
the classic one, which every reader knows. DuckDB writes it, for Polars has no maps. A table in which something stands
that would be lost on the way gets none: a checkpoint that lacks it would change the table for everyone.
"""

from __future__ import annotations

import io
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import polars as pl

from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.inputs.tables.delta import actions, log
from gpuquery.runner.inputs.tables.delta.place import LOG
from gpuquery.runner.output import scratch
from gpuquery.runner.output.tables.delta import features

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuquery.runner.inputs.tables.delta.actions import Snapshot
    from gpuquery.runner.inputs.tables.delta.log import Segment
    from gpuquery.runner.output.tables.delta.place import Target

_LOG = logging.getLogger(__name__)
INTERVAL = 100
"""Commits after which a checkpoint is written, unless the table says otherwise (`delta.checkpointInterval`); the
default of delta-rs."""
MAX_ACTIONS = 100_000
"""Files, removed files and transactions of a table that gets a checkpoint: some 2 KiB of memory each."""
_MANY = f"it has more than {MAX_ACTIONS:,} files, removed files and transactions"
_KEPT_SECONDS = 7 * 24 * 3600
"""How long a removed file is remembered, unless the table says otherwise (`delta.deletedFileRetentionDuration`)."""
_PLAIN = frozenset(
    {
        "appendOnly", "invariants", "checkConstraints", "generatedColumns", "allowColumnDefaults", "identityColumns",
        "changeDataFeed", "timestampNtz", "inCommitTimestamp", "vacuumProtocolCheck",
    }
)  # fmt: skip
"""Features that add nothing to a checkpoint."""
_MAP = "MAP(VARCHAR, VARCHAR)"
_FIELDS: Mapping[str, Mapping[str, str]] = {
    "txn": {"appId": "VARCHAR", "version": "BIGINT", "lastUpdated": "BIGINT"},
    "add": {
        "path": "VARCHAR", "partitionValues": _MAP, "size": "BIGINT", "modificationTime": "BIGINT",
        "dataChange": "BOOLEAN", "stats": "VARCHAR", "tags": _MAP,
    },
    "remove": {
        "path": "VARCHAR", "deletionTimestamp": "BIGINT", "dataChange": "BOOLEAN", "extendedFileMetadata": "BOOLEAN",
        "partitionValues": _MAP, "size": "BIGINT", "stats": "VARCHAR", "tags": _MAP,
    },
    "metaData": {
        "id": "VARCHAR", "name": "VARCHAR", "description": "VARCHAR",
        "format": f"STRUCT(provider VARCHAR, options {_MAP})", "schemaString": "VARCHAR",
        "partitionColumns": "VARCHAR[]", "configuration": _MAP, "createdTime": "BIGINT",
    },
    "protocol": {
        "minReaderVersion": "INTEGER", "minWriterVersion": "INTEGER", "readerFeatures": "VARCHAR[]",
        "writerFeatures": "VARCHAR[]",
    },
}  # fmt: skip
"""Columns of a checkpoint, their fields, and DuckDB's types of these."""
_NOT_KEPT = frozenset({"commitInfo", "cdc"})
"""Actions that belong to one commit alone."""
_DERIVED = frozenset({"stats_parsed", "partitionValues_parsed"})
"""Fields of a checkpoint that repeat others."""


class _UnfitError(Exception):
    """Something would be lost; says what."""


def interval(snapshot: Snapshot) -> int:
    """How many commits there may be after a checkpoint."""
    text = snapshot.configuration.get("delta.checkpointInterval", "")
    return int(text) if text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text) else INTERVAL


def write(target: Target, snapshot: Snapshot) -> None:
    """Write the checkpoint of the newest version that was read; what goes wrong is only logged, for no reader needs it.

    One that is there already stays.
    """
    try:
        _check(snapshot)
        key = f"{LOG}{snapshot.version:020d}.checkpoint.parquet"
        found = log.looked_for(target, until=snapshot.version)
        kept = _State(target, log.segment(target, found, snapshot.version)).lines(snapshot)
        body = _parquet(kept)
        _compare(target, key, body, snapshot)
        target.store.create(key, body)
        target.store.put(log.LAST, json.dumps({"version": snapshot.version, "size": len(kept)}).encode())
    except _UnfitError as exc:
        _LOG.warning("%s gets no checkpoint from us, because %s: write one by OPTIMIZE in Spark", target.root, exc)
    except JobError as exc:
        _LOG.warning("no checkpoint was written: %s", exc.message)
    except Exception as exc:  # the job is committed, and DuckDB raises many kinds
        _LOG.warning("no checkpoint of %s was written: %s", target.root, first_paragraph(exc))


def _check(snapshot: Snapshot) -> None:
    """Raise _UnfitError for a table that gets no checkpoint, whatever its actions are."""
    named = {*(snapshot.protocol.get("readerFeatures") or ()), *(snapshot.protocol.get("writerFeatures") or ())}
    if more := sorted(named - _PLAIN):
        raise _UnfitError(f"it has the feature {more[0]}")
    if snapshot.configuration.get("delta.checkpoint.writeStatsAsJson", "true").lower() != "true":
        raise _UnfitError("its property delta.checkpoint.writeStatsAsJson is off")
    if len(snapshot.files) + len(snapshot.transactions) > MAX_ACTIONS:
        raise _UnfitError(_MANY)


class _State:
    """What counts after all actions up to a version, with all their fields ("Action Reconciliation")."""

    def __init__(self, target: Target, segment: Segment) -> None:
        """Read the files of the version. Raises JobError, _UnfitError."""
        self._one: dict[str, Any] = {}
        self._transactions: dict[str, Any] = {}
        self._files: dict[str, tuple[str, Any]] = {}
        bodies = target.store.parallel(target.store.get, [*segment.checkpoint, *segment.commits])
        for key, body in zip([*segment.checkpoint, *segment.commits], bodies, strict=True):
            if body is None:
                raise _UnfitError(f"{key} was removed meanwhile")
            for kind, action in _columns(body) if key.endswith(".parquet") else _lines(body):
                self._apply(kind, action)
            if len(self._files) + len(self._transactions) > MAX_ACTIONS:
                raise _UnfitError(_MANY)

    def lines(self, snapshot: Snapshot) -> list[str]:
        """Return one line of JSON for each row of the checkpoint."""
        kept = features.seconds(snapshot.configuration.get("delta.deletedFileRetentionDuration"), _KEPT_SECONDS)
        oldest = (time.time() - kept) * 1000
        made = [{kind: action} for kind, action in self._one.items()]
        made += [{"txn": action} for action in self._transactions.values()]
        for kind, action in self._files.values():
            if kind == "add" or (action.get("deletionTimestamp") or 0) >= oldest:
                made.append({kind: action | {"dataChange": False}})
        return [json.dumps(one, ensure_ascii=False) for one in made]

    def _apply(self, kind: str, action: Mapping[str, Any]) -> None:
        if lost := sorted(name for name, value in action.items() if name not in _FIELDS[kind] and _there(value)):
            raise _UnfitError(f"an action {kind} has the field {lost[0]}")
        match kind:
            case "add" | "remove":
                self._files[unquote(action["path"])] = (kind, action)
            case "txn":
                self._transactions[action["appId"]] = action
            case _:
                self._one[kind] = action


def _lines(body: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All actions of a commit."""
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        for kind, action in json.loads(line).items():
            if action is None or kind in _NOT_KEPT:
                continue
            if kind not in _FIELDS:
                raise _UnfitError(f"it has an action {kind}")
            yield kind, action


def _columns(body: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All actions of an older checkpoint, as a commit would have them."""
    for kind, dtype in pl.read_parquet_schema(io.BytesIO(body)).items():
        if kind not in _FIELDS and any(_there(one) for one in pl.read_parquet(io.BytesIO(body), columns=[kind])[kind]):
            raise _UnfitError(f"its last checkpoint has actions {kind} ({dtype})")
    for kind, action in actions.rows(body, _FIELDS, {}):
        yield (
            kind,
            {name: _json(value, _FIELDS[kind].get(name, "")) for name, value in action.items() if name not in _DERIVED},
        )


def _there(value: Any) -> bool:
    """Whether a value is none that some writers have for what is not there."""
    return any(map(_there, value.values())) if isinstance(value, dict) else value is not None


def _json(value: Any, of: str) -> Any:
    """A field of a checkpoint as JSON has it: a list of entries becomes a map."""
    if isinstance(value, dict):
        return {name: _json(one, _MAP if name == "options" else "") for name, one in value.items()}
    return {entry["key"]: entry["value"] for entry in value} if of == _MAP and value is not None else value


def _parquet(lines: list[str]) -> bytes:
    """The rows as a parquet file with the columns of a checkpoint."""
    import duckdb

    structs = {kind: ", ".join(f"{name} {of}" for name, of in fields.items()) for kind, fields in _FIELDS.items()}
    columns = ", ".join(f"{kind}: 'STRUCT({fields})'" for kind, fields in structs.items())
    with tempfile.TemporaryDirectory(prefix="gpuquery-checkpoint-", dir=scratch.root()) as folder:
        source, made = Path(folder) / "rows.json", Path(folder) / "made.parquet"
        source.write_text("\n".join(lines), encoding="utf-8")
        with duckdb.connect(config={"threads": 1, "temp_directory": folder}) as connection:
            connection.execute(
                f"COPY (SELECT * FROM read_json(?, format = 'newline_delimited', columns = {{{columns}}}, "  # noqa: S608
                "maximum_object_size = 268435456)) TO ? (FORMAT parquet, COMPRESSION snappy)",
                [str(source), str(made)],
            )
        return made.read_bytes()


def _compare(target: Target, key: str, body: bytes, snapshot: Snapshot) -> None:
    """Raise _UnfitError unless a reader of the checkpoint finds the very table that a reader of its entries finds."""
    found = actions.Snapshot(snapshot.version)
    actions.applied(target, found, key, body)
    versions = [{app: version for app, (version, _) in one.transactions.items()} for one in (found, snapshot)]
    same = found.files == snapshot.files and versions[0] == versions[1]
    if not same or any(
        _told(getattr(found, name)) != _told(getattr(snapshot, name)) for name in ("protocol", "metadata")
    ):
        raise _UnfitError("what was read back of it differs")


def _told(action: Mapping[str, Any]) -> dict[str, Any]:
    """An action without what it leaves open, in one form."""
    fields = {**_FIELDS["metaData"], **_FIELDS["protocol"]}
    plain = {
        name: value if isinstance(value, dict) and fields.get(name) == _MAP else _json(value, fields.get(name, ""))
        for name, value in action.items()
    }
    return {name: value for name, value in plain.items() if value not in (None, {}, [])}
