"""Moments that files store as INT96, as Spark does by default: whether Polars reads them as they are.

Polars makes nanoseconds of them, which hold the years 1677 to 2262 only. What is beyond becomes another moment without
a word (Polars 1.35 to 1.39 wrap around, 1.42 to 1.44 give the last one). The statistics of the log tell beforehand.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gpuquery.runner.inputs.tables.delta.fit import int96

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuquery.runner.failures.errors import JobError
    from gpuquery.runner.inputs.tables.delta.fit import Fit
    from gpuquery.runner.inputs.tables.delta.place import Table
    from gpuquery.runner.inputs.tables.delta.schema import Column

_FIRST, _LAST = datetime(1677, 9, 22, tzinfo=UTC), datetime(2262, 4, 11, tzinfo=UTC)
_WAY_OUT = "write the file anew with spark.sql.parquet.outputTimestampType=TIMESTAMP_MICROS"


def check(table: Table, columns: Iterable[tuple[Column, Fit]], statistics: Iterable[tuple[str, str | None]]) -> None:
    """Raise JobError that names a file whose moments may be beyond what is read exactly.

    `columns` are those of files of one schema, `statistics` what the log says of each file, by its place.
    """
    paths = [(column, path) for column, fit in columns for path in int96(column, fit)]
    if not paths:
        return
    for uri, text in statistics:
        known = _parsed(text)
        for column, path in paths:
            found = "unknown" if path is None else _judged(known, path)
            if found == "far":
                raise _refused(table, uri, column, "holds moments before 1677 or after 2262")
            if found == "unknown":
                raise _refused(table, uri, column, "has no statistics in the log, so its moments may be that far")


def _parsed(text: str | None) -> Mapping[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _judged(known: Mapping[str, Any], path: tuple[str, ...]) -> str:
    nulls = _at(known.get("nullCount"), path)
    if nulls is not None and nulls == known.get("numRecords"):
        return "near"
    ends = [_at(known.get(name), path) for name in ("minValues", "maxValues")]
    if None in ends:
        return "unknown"
    try:
        moments = [datetime.fromisoformat(str(end)) for end in ends]
    except ValueError:
        return "far"  # years of five digits
    zoned = [one.replace(tzinfo=UTC) if one.tzinfo is None else one for one in moments]
    return "near" if all(_FIRST <= one < _LAST for one in zoned) else "far"


def _at(found: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _refused(table: Table, uri: str, column: Column, what: str) -> JobError:
    return table.refused(
        f'{uri} stores the column "{column.name}" as INT96, and {what}, which cannot be read exactly: {_WAY_OUT}'
    )
