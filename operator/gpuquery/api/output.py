"""Where a result goes: `spec.output`, and what happens to the rows that are already there.

There are three formats. Without more, `uri` is a folder of parquet files with a log of our own; with `delta`, `uri` is
a Delta table; with `table`, the result goes into an Iceberg table, and only its catalog knows where that is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from gpuquery.api.ages import DURATION
from gpuquery.api.expect import MAX_EXPECTATIONS, Expectation
from gpuquery.api.files import Files
from gpuquery.api.names import TABLE_NAME, ResourceName
from gpuquery.api.schema import Model, Rule
from gpuquery.api.stores import uri_pattern
from gpuquery.api.text import clean

MAX_PARTITION_COLUMNS = 8
MAX_SORT_COLUMNS = 16
MAX_PROPERTIES = 64
MAX_PREDICATE = 4096
MAX_WORDS = 2048
"""Characters of what `gpuquery plan` says of an output."""
FOLDER = r"[^\s*?\[\]{}]"
"""A character of a folder's URI: no glob characters."""
FIRST = r"[\p{L}\p{M}\p{N}-]"
WORD = r"[\p{L}\p{M}\p{N}_.-]"
"""Characters of a partition column's name: none that readers would have to decode or would skip."""
OUTPUT_URI = uri_pattern(FOLDER)
WRITTEN_URI = "^(s3|gs|az|abfss|file)://"
"""Stores that a result can be written to."""
PARTITION_COLUMN = rf"^{FIRST}{WORD}*( {WORD}+)*$"
_EDGE, _INSIDE = r"[^\s\p{Cc}(),]", r"[^\p{Cc}\p{Zl}\p{Zp}(),]"
_COLUMN = f"{_EDGE}({_INSIDE}*{_EDGE})?"
"""A column of an Iceberg table, or a field of a struct: `a.b`."""
TRANSFORM = f"^({_COLUMN}|(year|month|day|hour)\\({_COLUMN}\\)|(bucket|truncate)\\([1-9][0-9]{{0,8}}, ?{_COLUMN}\\))$"
SORT_COLUMN = f"^{_COLUMN}$"
TWO_WAYS = " (asc|desc) +(asc|desc)$"
BRANCH = r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"
MAIN_BRANCH = "main"
"""The branch that readers of a table see."""
OWN_PROPERTIES = "gpuquery."
"""How names of properties begin that this operator writes."""


class OutputMode(StrEnum):
    """What happens to rows that are already in the output."""

    ERROR_IF_EXISTS = "errorIfExists"
    APPEND = "append"
    OVERWRITE = "overwrite"
    OVERWRITE_PARTITIONS = "overwritePartitions"


class SchemaChange(StrEnum):
    """How far the result's columns may differ from those of the table."""

    STRICT = "strict"
    WIDEN = "widen"


class OutputFormat(StrEnum):
    """Who decides what is in the output: our own log, Delta's log, or an Iceberg catalog."""

    HIVE = "hive"
    DELTA = "delta"
    ICEBERG = "iceberg"


class Compression(StrEnum):
    """Compression of the parquet files."""

    ZSTD = "zstd"
    LZ4 = "lz4"
    SNAPPY = "snappy"
    GZIP = "gzip"
    UNCOMPRESSED = "uncompressed"


_LEVELS = {Compression.ZSTD: 22, Compression.GZIP: 9}
"""The highest level of each compression that has levels."""


class PartitionField(NamedTuple):
    """One part of an Iceberg table's partition: `bucket(16, id)` is ("bucket", "id", 16)."""

    transform: str
    """identity, year, month, day, hour, bucket or truncate."""
    column: str
    """The column that it is made of."""
    number: int | None = None
    """How many buckets, or how wide; None with the others."""


class SortColumn(NamedTuple):
    """One column of an Iceberg table's sort order."""

    column: str
    """Its name."""
    descending: bool = False
    """From the largest value down; then nulls come last, else first."""


class TableCreation(Model):
    """How a new Iceberg table is made. It says nothing about a table that exists."""

    partition_by: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=300, pattern=TRANSFORM)], ...],
        Field(max_length=MAX_PARTITION_COLUMNS),
    ] = ()
    """What its partitions are made of: a column, `year(ts)`, `month(ts)`, `day(ts)`, `hour(ts)`, `bucket(16, id)` or
    `truncate(4, name)`. Readers need not know: a filter on the column finds the partitions."""
    sort_by: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=300, pattern=SORT_COLUMN)], ...],
        Field(max_length=MAX_SORT_COLUMNS),
    ] = ()
    """The order of rows in each file: a column, or `ts desc` for the largest value first. Nulls come first, with `desc`
    last."""
    properties: Annotated[Mapping[str, Annotated[str, Field(max_length=1024)]], Field(max_length=MAX_PROPERTIES)] = {}
    """Properties of the table, such as `{comment: Orders by day}`. Everybody who can read the table sees them."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.partitionBy) || self.partitionBy.all(x, self.partitionBy.exists_one(y, x == y))",
            lambda self: len(set(self.partition_by)) == len(self.partition_by),
            "partitionBy names a partition twice",
            field_path=".partitionBy",
        ),
        Rule(
            "!has(self.sortBy) || self.sortBy.all(x, self.sortBy.exists_one(y, x == y))",
            lambda self: len(set(self.sort_by)) == len(self.sort_by),
            "sortBy names a column twice",
            field_path=".sortBy",
        ),
        Rule(
            f"!has(self.sortBy) || self.sortBy.all(x, !x.matches('{TWO_WAYS}'))",
            lambda self: not any(re.search(TWO_WAYS, text) for text in self.sort_by),
            "sortBy gives a column two directions: write one of asc and desc",
            field_path=".sortBy",
        ),
        Rule(
            f"!has(self.properties) || self.properties.all(k, !k.startsWith('{OWN_PROPERTIES}'))",
            lambda self: not any(name.startswith(OWN_PROPERTIES) for name in self.properties),
            f"properties that begin with {OWN_PROPERTIES} belong to the operator: give them other names",
            field_path=".properties",
        ),
    )

    @property
    def partitions(self) -> tuple[PartitionField, ...]:
        """`partitionBy`, taken apart."""
        return tuple(_partition(text) for text in self.partition_by)

    @property
    def order(self) -> tuple[SortColumn, ...]:
        """`sortBy`, taken apart."""
        return tuple(
            SortColumn(text.removesuffix(" desc").removesuffix(" asc").rstrip(), text.endswith(" desc"))
            for text in self.sort_by
        )


def _partition(text: str) -> PartitionField:
    if not text.endswith(")"):
        return PartitionField("identity", text)
    transform, _, inside = text.removesuffix(")").partition("(")
    number, comma, column = inside.partition(",")
    return PartitionField(transform, column.strip(), int(number)) if comma else PartitionField(transform, inside)


class TableOutput(Model):
    """An Iceberg table of a REST catalog."""

    catalog: ResourceName
    """A catalog that the administrator has declared, or a Secret of the job's namespace with the catalog's `uri` and
    credentials, as in `inputs[].table.catalog`."""
    name: Annotated[str, Field(min_length=3, max_length=512, pattern=TABLE_NAME)]
    """Namespace and name of the table: `sales.orders`."""
    branch: Annotated[str, Field(min_length=1, max_length=255, pattern=BRANCH)] | None = None
    """Writes to this branch. One that there is not begins at the table's current snapshot, so a new table has none.
    Readers of the table see nothing of it until `main` is moved to it. Default: `main`, which readers see at once."""
    create: TableCreation | None = None
    """Makes the table if there is none: `create: {}` without partitions. Without it a missing table fails the job."""

    @property
    def shown(self) -> str:
        """Which table it is, for messages and the status."""
        return f"{self.catalog}: {self.name}"


class DeltaOutput(Model):
    """A Delta table. It has no fields yet: write `delta: {}`."""


class Output(Model):
    """Where the result goes, as parquet, in one atomic commit: exactly one of `uri` and `table`."""

    uri: Annotated[str, Field(min_length=1, max_length=1024, pattern=OUTPUT_URI)] | None = None
    """Folder of the table. Files appear under `<uri>/data/`, the log of commits under `<uri>/_commits/`. With `delta`:
    the root of the Delta table."""
    delta: DeltaOutput | None = None
    """`delta: {}` writes `uri` as a Delta table, which is made if there is none."""
    table: TableOutput | None = None
    """Writes an Iceberg table in place of a folder."""
    partition_by: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256, pattern=PARTITION_COLUMN)], ...],
        Field(max_length=MAX_PARTITION_COLUMNS),
    ] = ()
    """Columns of the result whose values become folders (`year=1994/`). The files do not have these columns. Their
    names may have letters, digits, `_`, `-`, `.` and single spaces, because readers do not decode folder names, and may
    not begin with `_` or `.`, because pyarrow and Spark skip such folders. `AS` renames a column. Not with `table`."""
    mode: OutputMode = OutputMode.ERROR_IF_EXISTS
    """`errorIfExists` fails if the table already has a commit, `append` adds to it, `overwrite` replaces all of it, or
    what `overwriteWhere` says, and `overwritePartitions` replaces the partitions that the result has rows for."""
    overwrite_where: Annotated[str, Field(min_length=1, max_length=MAX_PREDICATE, pattern=r"\S")] | None = None
    """Which rows `mode: overwrite` replaces: `day >= DATE '2026-01-01'`, a condition over the columns that the table is
    partitioned by, because whole files are replaced. Each row of the result must meet it. Only with `table` and
    `delta`."""
    schema_evolution: SchemaChange | None = None
    """`strict` fails if the result's columns are not those of the table. `widen` also takes new columns, which are null
    in the rows that are there, and types that hold all values of the old ones. Nothing else is changed. Default:
    `strict`."""
    compression: Compression = Compression.ZSTD
    """Compression of the files."""
    files: Files | None = None
    """Size, order and metadata of the files. What is not set is left to the engine."""
    expect: Annotated[tuple[Expectation, ...], Field(max_length=MAX_EXPECTATIONS)] | None = None
    """What the result must be like. All of it is checked before anything is published, over every row; if something
    does not hold, the job fails with ExpectationFailed and the output stays as it was."""
    keep_failed: Annotated[str, Field(min_length=2, max_length=6, pattern=DURATION)] | None = None
    """Keeps the rows of a result of which an expectation does not hold, for at least so long: `12h`, `7d`. They are
    parquet files below `_failed/` in the output's folder, where no reader of the table finds them; the message says
    where. The next job that writes to the table after that time removes them. Default: they are not kept. Only with
    `expect`."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.uri) != has(self.table)",
            lambda self: (self.uri is None) is not (self.table is None),
            "exactly one of uri and table must be set: uri is a folder, or with delta a Delta table; table is an "
            "Iceberg table of a catalog",
        ),
        Rule(
            "!(has(self.delta) && has(self.table))",
            lambda self: self.delta is None or self.table is None,
            "delta makes uri a Delta table, and table is an Iceberg table: remove one of them",
            field_path=".delta",
        ),
        Rule(
            "!has(self.partitionBy) || self.partitionBy.all(x, self.partitionBy.exists_one(y, x == y))",
            lambda self: len(set(self.partition_by)) == len(self.partition_by),
            "partitionBy names a column twice",
            field_path=".partitionBy",
        ),
        Rule(
            "!(has(self.partitionBy) && has(self.table))",
            lambda self: not self.partition_by or self.table is None,
            "an Iceberg table says itself how it is partitioned, and a new one by table.create.partitionBy: remove "
            "partitionBy",
            field_path=".partitionBy",
        ),
        Rule(
            "self.mode != 'overwritePartitions' || has(self.table) || has(self.partitionBy) && "
            "self.partitionBy.size() > 0",
            lambda self: (
                self.mode is not OutputMode.OVERWRITE_PARTITIONS or self.table is not None or bool(self.partition_by)
            ),
            'mode "overwritePartitions" replaces partitions, and partitionBy names none: set partitionBy, or use mode '
            '"overwrite"',
            field_path=".mode",
        ),
        Rule(
            "self.mode != 'errorIfExists' || !has(self.table) || !has(self.table.branch) || "
            f"self.table.branch == '{MAIN_BRANCH}'",
            lambda self: (
                self.mode is not OutputMode.ERROR_IF_EXISTS
                or self.table is None
                or self.table.branch in (None, MAIN_BRANCH)
            ),
            'mode "errorIfExists" is for what is new, and a branch begins at a snapshot of a table that is there: use '
            "another mode, or remove table.branch",
            field_path=".mode",
        ),
        Rule(
            "!has(self.overwriteWhere) || self.mode == 'overwrite'",
            lambda self: self.overwrite_where is None or self.mode is OutputMode.OVERWRITE,
            'overwriteWhere says which rows mode "overwrite" replaces, and mode is "{mode}": use mode "overwrite", or '
            "remove overwriteWhere",
            field_path=".overwriteWhere",
        ),
        Rule(
            "!has(self.overwriteWhere) || has(self.table) || has(self.delta)",
            lambda self: self.overwrite_where is None or self.format is not OutputFormat.HIVE,
            "overwriteWhere needs a table that can replace some rows of a folder: set delta or table, or use mode "
            '"overwritePartitions" without it',
            field_path=".overwriteWhere",
        ),
        Rule(
            "!has(self.overwriteWhere) || !has(self.delta) || has(self.partitionBy) && self.partitionBy.size() > 0",
            lambda self: self.overwrite_where is None or self.delta is None or bool(self.partition_by),
            "overwriteWhere of a Delta table is a condition over the columns in partitionBy, and there are none: set "
            "partitionBy, or remove overwriteWhere",
            field_path=".overwriteWhere",
        ),
        Rule(
            f"!has(self.uri) || self.uri.matches('{WRITTEN_URI}')",
            lambda self: self.uri is None or bool(re.match(WRITTEN_URI, self.uri)),
            "web servers are only read: write uri like s3://bucket/folder, gs://bucket/folder or az://container/folder",
            field_path=".uri",
        ),
        Rule(
            "!has(self.uri) || self.uri.startsWith('file://') || !self.uri.matches('[^:]//|/[.]{1,2}(/|$)')",
            lambda self: (
                self.uri is None or self.uri.startswith("file://") or not re.search(r"[^:]//|/[.]{1,2}(/|$)", self.uri)
            ),
            "uri has an empty, '.' or '..' folder in it, which stores and readers take for different things",
            field_path=".uri",
        ),
        Rule(
            "!has(self.files) || !has(self.files.compressionLevel) || self.compression == 'zstd' || "
            "(self.compression == 'gzip' && self.files.compressionLevel <= 9)",
            lambda self: self.files is None or (self.files.compression_level or 0) <= _LEVELS.get(self.compression, 0),
            "files.compressionLevel is from 1 to 22 for zstd and from 1 to 9 for gzip, and other compressions have "
            "none: leave it out, or change compression",
            field_path=".files.compressionLevel",
        ),
        Rule(
            "!has(self.files) || !has(self.files.sortBy) || self.files.sortBy.size() == 0 || !has(self.table)",
            lambda self: self.files is None or not self.files.sort_by or self.table is None,
            "an Iceberg table says itself how its files are sorted, and a new one by table.create.sortBy: remove "
            "files.sortBy",
            field_path=".files.sortBy",
        ),
        Rule(
            "!has(self.keepFailed) || has(self.expect) && self.expect.size() > 0",
            lambda self: self.keep_failed is None or bool(self.expect),
            "keepFailed keeps the rows of a result of which an expectation does not hold, and expect has none: set "
            "expect, or remove keepFailed",
            field_path=".keepFailed",
        ),
    )

    @property
    def format(self) -> OutputFormat:
        """Who decides what is in it."""
        if self.table is not None:
            return OutputFormat.ICEBERG
        return OutputFormat.HIVE if self.delta is None else OutputFormat.DELTA

    @property
    def places(self) -> tuple[str, ...]:
        """Its URI; none for an Iceberg table, whose folder only the catalog knows."""
        return () if self.uri is None else (self.uri,)

    @property
    def folder(self) -> str:
        """The URI, ending with one `/`; empty for an Iceberg table."""
        return "" if self.uri is None else self.uri.rstrip("/") + "/"

    @property
    def shown(self) -> str:
        """What it writes, for messages."""
        return self.table.shown if self.table is not None else self.uri or ""

    @property
    def words(self) -> str:
        """What is written and how, for `gpuquery plan`: `Iceberg table lake: sales.orders, mode append`."""
        kind = {"hive": "folder", "delta": "Delta table", "iceberg": "Iceberg table"}[self.format]
        branch = f", branch {self.table.branch}" if self.table is not None and self.table.branch else ""
        where = f" where {' '.join(self.overwrite_where.split())}" if self.overwrite_where else ""
        widens = ", columns may widen" if self.widens else ""
        return clean(f"{kind} {self.shown}{branch}, mode {self.mode}{where}{widens}", MAX_WORDS)

    @property
    def widens(self) -> bool:
        """Whether the table's columns may change: `schemaEvolution: widen`."""
        return self.schema_evolution is SchemaChange.WIDEN

    @property
    def published(self) -> str:
        """What readers open, as the status names it: a folder, or a table of a catalog."""
        match self.format:
            case OutputFormat.HIVE:
                return f"{self.folder}data/"
            case OutputFormat.DELTA:
                return self.folder
            case OutputFormat.ICEBERG:
                return self.shown
