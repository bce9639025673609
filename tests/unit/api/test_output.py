"""What an output says of itself: where it is, who decides what is in it, and how a new table is made."""

from __future__ import annotations

from typing import Any

import pytest

from gpuquery.api.output import Output, OutputFormat, PartitionField, SortColumn, TableCreation

TABLE = {"catalog": "lake", "name": "sales.orders"}


@pytest.mark.parametrize(
    ("output", "kind", "published", "words"),
    [
        pytest.param(
            {"uri": "s3://lake/x/"},
            OutputFormat.HIVE,
            "s3://lake/x/data/",
            "folder s3://lake/x/, mode errorIfExists",
            id="a folder",
        ),
        pytest.param(
            {"uri": "s3://lake/x", "delta": {}, "mode": "append", "schemaEvolution": "widen"},
            OutputFormat.DELTA,
            "s3://lake/x/",
            "Delta table s3://lake/x, mode append, columns may widen",
            id="a Delta table",
        ),
        pytest.param(
            {"table": TABLE, "mode": "overwrite", "overwriteWhere": "a\n  = 1"},
            OutputFormat.ICEBERG,
            "lake: sales.orders",
            "Iceberg table lake: sales.orders, mode overwrite where a = 1",
            id="an Iceberg table",
        ),
        pytest.param(
            {"table": {**TABLE, "branch": "audit"}, "mode": "overwritePartitions"},
            OutputFormat.ICEBERG,
            "lake: sales.orders",
            "Iceberg table lake: sales.orders, branch audit, mode overwritePartitions",
            id="a branch of one",
        ),
    ],
)
def test_an_output_says_what_it_is(output: dict[str, Any], kind: OutputFormat, published: str, words: str) -> None:
    found = Output.model_validate(output)
    assert (found.format, found.published, found.words) == (kind, published, words)


def test_an_iceberg_table_has_no_folder_that_the_job_could_name() -> None:
    found = Output.model_validate({"table": TABLE})
    assert (found.places, found.folder) == ((), "")


def test_partitions_and_order_of_a_new_table_are_taken_apart() -> None:
    made = TableCreation.model_validate(
        {
            "partitionBy": ["z", "year(a.b)", "day(Größe in cm)", "bucket(16, id)", "truncate(4,name)"],
            "sortBy": ["id", "ts desc", "a b asc", "description"],
        }
    )
    assert made.partitions == (
        PartitionField("identity", "z"),
        PartitionField("year", "a.b"),
        PartitionField("day", "Größe in cm"),
        PartitionField("bucket", "id", 16),
        PartitionField("truncate", "name", 4),
    )
    assert made.order == (
        SortColumn("id"),
        SortColumn("ts", descending=True),
        SortColumn("a b"),
        SortColumn("description"),
    )


def test_a_plan_of_a_folder_is_what_it_always_was() -> None:
    """A job that is under way keeps its image, which may be older than the operator and refuses unknown fields."""
    plain = Output.model_validate({"uri": "s3://lake/x"})
    assert set(plain.model_dump(exclude_none=True)) == {"uri", "partitionBy", "mode", "compression"}
