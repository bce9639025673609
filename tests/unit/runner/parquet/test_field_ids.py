"""Field ids that are written into footers, as pyarrow reads them."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.runner.parquet.field_ids import with_ids
from gpuquery.runner.parquet.footer import NotParquetError, TooLargeError

FRAME = pl.DataFrame(
    {
        "id": pl.Series([1, None], dtype=pl.Int32),
        "text": ["a", "ä" * 300],
        "at": [datetime(2024, 1, 1, tzinfo=UTC), None],
        "price": pl.Series([Decimal("1.50"), None], dtype=pl.Decimal(9, 2)),
        "tags": [["x"], []],
        "inner": [{"a": 1, "b": [1.5]}, {"a": None, "b": None}],
    }
)
IDS = {
    ("id",): 1, ("text",): 200, ("at",): 3, ("price",): 2**31 - 1, ("tags",): 5, ("tags", "list", "element"): 6,
    ("inner",): 7, ("inner", "a"): 8, ("inner", "b"): 9, ("inner", "b", "list", "element"): 10,
}  # fmt: skip


def written(frame, **options):
    out = io.BytesIO()
    frame.write_parquet(out, **options)
    return out.getvalue()


def ids_of(body):
    """The ids in the schema of a file, by the path of its fields in Arrow."""
    found = {}

    def walk(field, path):
        here = (*path, field.name)
        if (number := (field.metadata or {}).get(b"PARQUET:field_id")) is not None:
            found[here] = int(number)
        for n in range(field.type.num_fields):
            walk(field.type.field(n), here)

    for field in pq.read_schema(io.BytesIO(body)):
        walk(field, ())
    return found


def arrow(path):
    return tuple(part for part in path if part != "list")


@pytest.mark.parametrize(
    "options",
    [{}, {"statistics": "full", "row_group_size": 1}, {"use_pyarrow": True}],
    ids=["by Polars", "with row groups and all statistics", "by pyarrow, which has set others"],
)
def test_files_have_the_ids_and_the_same_rows(options):
    body = written(FRAME, **options)
    patched = with_ids(body, IDS)
    assert ids_of(patched) == {arrow(path): number for path, number in IDS.items()}
    mine, theirs = pq.read_table(io.BytesIO(patched)), pq.read_table(io.BytesIO(body))
    assert mine.cast(theirs.schema).equals(theirs)
    metadata = pq.read_metadata(io.BytesIO(patched)).metadata or {}
    assert b"ARROW:schema" not in metadata
    assert pl.read_parquet(patched).equals(FRAME)


def test_other_metadata_of_a_writer_stays():
    body = written(FRAME, metadata={f"k{n}": "v" for n in range(20)})
    found = pq.read_metadata(io.BytesIO(with_ids(body, IDS))).metadata
    assert found == {f"k{n}".encode(): b"v" for n in range(20)}


def test_the_end_of_a_file_is_enough():
    body = written(FRAME)
    tail = body[-(int.from_bytes(body[-8:-4], "little") + 8) :]
    assert body[: -len(tail)] + with_ids(tail, IDS) == with_ids(body, IDS)


def test_a_field_without_an_id_loses_the_one_it_had():
    table = pa.table({"a": [1], "b": [2]})
    schema = pa.schema([f.with_metadata({"PARQUET:field_id": "77"}) for f in table.schema])
    out = io.BytesIO()
    pq.write_table(table.cast(schema), out, store_schema=False)  # pyarrow would believe that one
    assert ids_of(with_ids(out.getvalue(), {("b",): 4})) == {("b",): 4}


@pytest.mark.parametrize("path", sorted(IDS))
def test_every_kind_of_field_can_have_an_id_alone(path):
    assert ids_of(with_ids(written(FRAME), {path: 123456})) == {arrow(path): 123456}


BROKEN = {
    "nothing but the end": (b"PAR1", NotParquetError),
    "too few bytes": (written(FRAME)[-20:], TooLargeError),
    "no Thrift": (b"\xff" * 50 + b"\x32\0\0\0PAR1", NotParquetError),
}


@pytest.mark.parametrize(("tail", "error"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_file_is_refused(tail, error):
    with pytest.raises(error):
        with_ids(tail, IDS)
