"""Rows of a table in a folder as others read them by the pointer: without a line of ours, and without Polars."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

if TYPE_CHECKING:
    from pathlib import Path


def by_duckdb(folder: Path, columns: str, order: str) -> list[tuple[Any, ...]]:
    """Rows by DuckDB."""
    files = f"SELECT unnest(files) AS file FROM read_json('{folder}/_current.json', maximum_object_size = 100000000)"
    with duckdb.connect() as con:
        con.execute(
            f"SET TimeZone = 'UTC'; SET VARIABLE files = (SELECT list('{folder}/' || file.path) FROM ({files}))"
        )
        return con.execute(
            f"SELECT {columns} FROM read_parquet(getvariable('files'), hive_partitioning = true, "
            f"hive_types_autocast = false, union_by_name = true) ORDER BY {order}"
        ).fetchall()


def by_pyarrow(folder: Path, schema: pa.Schema) -> pa.Table:
    """Rows by pyarrow, with a schema."""
    told = json.loads((folder / "_current.json").read_text())
    files = [f"{folder}/{file['path']}" for file in told["files"]]
    layout = None
    if any("=" in file["path"] for file in told["files"]):  # not of the file that stands for a table without rows
        keys = pa.schema([schema.field(name) for name in told["partitionBy"]])
        layout = ds.HivePartitioning(keys, segment_encoding="uri")
    return ds.dataset(files, schema=schema, partitioning=layout, partition_base_dir=f"{folder}/data").to_table()
