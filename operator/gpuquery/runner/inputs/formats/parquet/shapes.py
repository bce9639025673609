"""Look at the footers of all files once, and put files of equal schemas together.

Of each schema one file is looked at closely: what Polars makes of its columns, and which of them it would not read
exactly. A file that cannot be opened at all is refused here, with its column where that is known.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError, first_paragraph
from gpuquery.runner.failures.stores import redact
from gpuquery.runner.inputs import faults
from gpuquery.runner.inputs.alike import Mark, alike
from gpuquery.runner.inputs.formats.parquet import readable
from gpuquery.runner.parquet import arrow, elements, footer
from gpuquery.runner.parquet.counts import DamagedError
from gpuquery.runner.parquet.footer import NotParquetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File, Schema

ALL_FILES = 20_000
"""Up to so many files, every footer is looked at; of more files, as many at equal distances."""


@dataclass
class Shape:
    """Files of one schema."""

    schema: Schema
    """Columns as Polars reads them, without those of `unreadable`."""
    exact: Schema
    """The types that their values have: another one for half floats, or for texts that Polars takes for bytes."""
    unreadable: Mapping[str, str]
    """Columns that are not read exactly, each with the reason and its way out."""
    int96: frozenset[str] = frozenset()
    """Columns of INT96 timestamps that Polars reads as nanoseconds."""
    whole: bool = False
    """Whether there are times of day, which Polars cannot filter while it decodes them."""
    files: list[File] = field(default_factory=list)
    """In the order of the listing."""


def look(item: Input, files: Sequence[File], access: StoreAccess) -> list[Shape]:
    """Return the schemas of files, in the order of their first files. Raises JobError with the file."""
    seen = alike(_chosen(files), access, lambda uri, tail, exc: _no_parquet(item, uri, tail, exc))
    shapes: list[Shape] = []
    by_mark: dict[Mark, Shape] = {}
    for mark, first in seen.firsts.items():
        found = _shape(item, *first)
        same = next((one for one in shapes if _alike(one, found)), None)
        if same is None:
            shapes.append(found)
        by_mark[mark] = same or found
    if len(seen.marks) < len(files) and len(shapes) > 1:
        raise JobError(
            Failure.INVALID_INPUT,
            f'input "{item.name}": {len(files):,} files of different schemas are too many to be looked at one by one '
            f"(the most is {ALL_FILES:,}): read parts of them as inputs of their own",
        )
    for file in files:
        (by_mark[seen.marks[file.uri]] if file.uri in seen.marks else shapes[0]).files.append(file)
    order = {file.uri: at for at, file in enumerate(files)}
    return sorted((one for one in shapes if one.files), key=lambda one: order[one.files[0].uri])


def _chosen(files: Sequence[File]) -> Sequence[File]:
    count = len(files)
    return files if count <= ALL_FILES else [files[n * (count - 1) // (ALL_FILES - 1)] for n in range(ALL_FILES)]


def _no_parquet(item: Input, uri: str, tail: bytes, exc: NotParquetError) -> JobError:
    if tail[-4:] == b"PARE":
        why = "its footer is encrypted, which is not read here: write it without encryption"
    elif isinstance(exc, DamagedError):
        why = f"its footer is damaged: {exc}: write the file again, or leave it out of the input"
    else:
        # Of a file that is this short, the end is all of it.
        what = faults.like(tail, uri, "parquet") if len(tail) < footer.TAIL else ""
        why = what or f"is no parquet file: {exc}"
    return JobError(Failure.INVALID_INPUT, f'input "{item.name}": {uri}: {why}')


def _alike(a: Shape, b: Shape) -> bool:
    return (
        list(a.schema.items()) == list(b.schema.items())
        and a.exact == b.exact
        and a.unreadable == b.unreadable
        and a.int96 == b.int96
        and a.whole == b.whole
    )


def _shape(item: Input, uri: str, tail: bytes) -> Shape:
    try:
        meta = footer.metadata(tail)
        columns = elements.columns(meta)
        secret = elements.encrypted(meta)
    except NotParquetError as exc:
        raise _no_parquet(item, uri, tail, exc) from None
    names = [column.name for column in columns]
    if twice := [name for name in names if names.count(name) > 1]:
        raise _refused(item, uri, f'it has several columns of the name "{twice[0]}": write it again with other names')
    try:
        schema = dict(pl.read_parquet_schema(io.BytesIO(tail)))
    except BaseException as exc:  # a panic of Polars is no Exception
        if isinstance(exc, KeyboardInterrupt | SystemExit):
            raise
        odd = [f'column "{column.name}" {why}' for column in columns if (why := readable.refusal(column))]
        text = first_paragraph(exc)
        raise _refused(item, uri, "; ".join(odd) or readable.odd_zone(columns, text) or redact(text)) from None
    unreadable = {
        column.name: why
        for column in columns
        if (why := readable.refusal(column, schema.get(column.name), encrypted=column.name in secret))
    }
    unreadable |= dict.fromkeys(arrow.times_in_seconds(elements.arrow_schema(meta)) - set(unreadable), readable.SECONDS)
    kept = [column for column in columns if column.name not in unreadable]
    return Shape(
        {column.name: schema[column.name] for column in kept},
        {column.name: readable.exact(column, schema[column.name]) for column in kept},
        unreadable,
        frozenset(c.name for c in kept if c.physical == elements.INT96 and schema[c.name] == pl.Datetime("ns")),
        any(schema[column.name] == pl.Time for column in kept),
    )


def _refused(item: Input, uri: str, why: str) -> JobError:
    return JobError(Failure.INVALID_INPUT, f'input "{item.name}": {uri} cannot be read: {why}')
