"""Where a result goes: `spec.output`."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from gpuquery.api.expect import MAX_EXPECTATIONS, Expectation
from gpuquery.api.schema import Model, Rule
from gpuquery.api.stores import uri_pattern

MAX_PARTITION_COLUMNS = 8
FOLDER = r"[^\s*?\[\]{}]"
"""A character of a folder's URI: no glob characters."""
FIRST = r"[\p{L}\p{M}\p{N}-]"
WORD = r"[\p{L}\p{M}\p{N}_.-]"
"""Characters of a partition column's name: none that readers would have to decode or would skip."""
OUTPUT_URI = uri_pattern(FOLDER)
WRITTEN_URI = "^(s3|file)://"
"""Stores that a result can be written to."""
PARTITION_COLUMN = rf"^{FIRST}{WORD}*( {WORD}+)*$"


class OutputMode(StrEnum):
    """What happens to rows that are already in the output."""

    ERROR_IF_EXISTS = "errorIfExists"
    APPEND = "append"
    OVERWRITE = "overwrite"
    OVERWRITE_PARTITIONS = "overwritePartitions"


class Compression(StrEnum):
    """Compression of the parquet files."""

    ZSTD = "zstd"
    LZ4 = "lz4"
    SNAPPY = "snappy"
    GZIP = "gzip"
    UNCOMPRESSED = "uncompressed"


class Output(Model):
    """Where the result goes, as parquet, in one atomic commit."""

    uri: Annotated[str, Field(min_length=1, max_length=1024, pattern=OUTPUT_URI)]
    """Folder of the table. Files appear under `<uri>/data/`, the log of commits under `<uri>/_commits/`."""
    partition_by: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256, pattern=PARTITION_COLUMN)], ...],
        Field(max_length=MAX_PARTITION_COLUMNS),
    ] = ()
    """Columns of the result whose values become folders (`year=1994/`). The files do not have these columns. Their
    names may have letters, digits, `_`, `-`, `.` and single spaces, because readers do not decode folder names, and may
    not begin with `_` or `.`, because pyarrow and Spark skip such folders. `AS` renames a column."""
    mode: OutputMode = OutputMode.ERROR_IF_EXISTS
    """`errorIfExists` fails if the table already has a commit, `append` adds to it, `overwrite` replaces all of it."""
    compression: Compression = Compression.ZSTD
    """Compression of the files."""
    expect: Annotated[tuple[Expectation, ...], Field(max_length=MAX_EXPECTATIONS)] | None = None
    """What the result must be like. All of it is checked before anything is published, over every row; if something
    does not hold, the job fails with ExpectationFailed and the output stays as it was."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.partitionBy) || self.partitionBy.all(x, self.partitionBy.exists_one(y, x == y))",
            lambda self: len(set(self.partition_by)) == len(self.partition_by),
            "partitionBy names a column twice",
            field_path=".partitionBy",
        ),
        Rule(
            f"self.uri.matches('{WRITTEN_URI}')",
            lambda self: bool(re.match(WRITTEN_URI, self.uri)),
            "results are written to s3:// only, and other stores are only read: write uri like s3://bucket/folder",
            field_path=".uri",
        ),
        Rule(
            "!self.uri.startsWith('s3://') || !self.uri.matches('[^:]//|/[.]{1,2}(/|$)')",
            lambda self: not self.uri.startswith("s3://") or not re.search(r"[^:]//|/[.]{1,2}(/|$)", self.uri),
            "uri has an empty, '.' or '..' folder in it, which stores and readers take for different things",
            field_path=".uri",
        ),
    )

    @property
    def folder(self) -> str:
        """The URI, ending with one `/`."""
        return self.uri.rstrip("/") + "/"
