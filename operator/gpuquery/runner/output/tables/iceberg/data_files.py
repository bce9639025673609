"""Files that ranks have staged, as the table's manifests describe them: partition values, counts and bounds.

https://iceberg.apache.org/spec/#data-file-fields; bounds are single values in binary:
https://iceberg.apache.org/spec/#appendix-d-single-value-serialization
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output.tables.iceberg import transforms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.output.record import Bound, LeafStatistics, StagedFile
    from gpuquery.runner.output.tables.iceberg.transforms import Part


@dataclass(frozen=True)
class Layout:
    """How the files of a result lie in a table."""

    spec_id: int
    parts: Sequence[Part]
    sort_order_id: int | None
    ids: Mapping[tuple[str, ...], int]
    """Field ids by path in the files."""
    leaves: Mapping[int, Any]
    """pyiceberg's types of fields with values, by id."""


def made(file: StagedFile, location: str, layout: Layout, values: Record | None = None) -> DataFile:
    """Return the entry of a file. Raises UnsafeStore if its values are not those of a partition.

    `values` is its partition, if the file itself does not say.
    """
    found = [(layout.ids[one.path], one) for one in file.statistics or () if one.path in layout.ids]
    known = [(number, one, layout.leaves[number]) for number, one in found if number in layout.leaves]
    flat = [(number, one, kind) for number, one, kind in known if len(one.path) == 1]
    made = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=partition(file, layout.parts) if values is None else values,
        record_count=file.rows,
        file_size_in_bytes=file.bytes,
        column_sizes={number: one.bytes for number, one, _ in known},
        value_counts={number: one.values for number, one, _ in known},
        null_value_counts={number: one.nulls for number, one, _ in flat if one.nulls is not None},
        nan_value_counts={},
        lower_bounds=_bounds([(number, one, one.least, kind) for number, one, kind in flat]),
        upper_bounds=_bounds([(number, one, one.most, kind) for number, one, kind in flat]),
        key_metadata=None,
        split_offsets=None,
        equality_ids=None,
        sort_order_id=layout.sort_order_id,
    )
    made.spec_id = layout.spec_id
    return made


def partition(file: StagedFile, parts: Sequence[Part]) -> Record:
    """Return the values of a file's partition."""
    if set(file.values) != {one.name for one in parts}:
        raise _odd(file, f"its partition has {clean(', '.join(sorted(file.values)), 200)}")
    values = []
    for one in parts:
        try:
            values.append(transforms.value(file.values[one.name], one.result))
        except (ArithmeticError, KeyError, ValueError):
            raise _odd(file, f"{one.name} is {clean(repr(file.values[one.name]), 100)}") from None
    return Record(*values)


def _bounds(found: Sequence[tuple[int, LeafStatistics, Bound | None, Any]]) -> dict[int, bytes]:
    out = {}
    for number, one, bound, kind in found:
        if bound is not None and (value := _value(one.kind, bound, str(kind))) is not None:
            out[number] = to_bytes(kind, value)
    return out


def _value(kind: str, bound: Bound, want: str) -> Any:
    """Return a bound as a value of its column; None where it is of another kind than the column."""
    value = bound.value
    match kind:
        case "boolean" if want == "boolean":
            return value
        case "integer" if want in ("int", "long", "date", "timestamp", "timestamptz"):
            return value
        case "float" if want in ("float", "double"):
            return float(str(value))
        case "decimal" if want.startswith("decimal"):
            return Decimal(str(value))
        case "text" if want == "string":
            return str(value)
        case "binary" if want == "binary":
            return bytes.fromhex(str(value))
    return None


def _odd(file: StagedFile, what: str) -> JobError:
    return JobError(
        Failure.UNSAFE_STORE,
        f"{clean(file.path, 200)} is not what a GpuQuery runner has staged: {what}; nothing was committed",
    )
