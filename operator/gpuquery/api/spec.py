"""What a user asks for: `spec` as frozen models.

`kubectl explain` prints the docstring of a field, so it addresses the person who writes the YAML: what the field does,
its default, and what is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.alias_generators import to_camel

from gpuquery.api.choices import ClusterChoice, Dialect, EngineChoice, NetworkChoice, PreflightChoice, SchedulerChoice
from gpuquery.api.combinations import COMBINATIONS
from gpuquery.api.contract import Contract
from gpuquery.api.dask import DaskSpec
from gpuquery.api.names import TABLE_NAME, ResourceName
from gpuquery.api.output import Output
from gpuquery.api.pods import Runtime, Storage, Template, Workers
from gpuquery.api.reuse import WHOLE, Reuse
from gpuquery.api.schema import Model, Rule
from gpuquery.api.size import SIZE_RULE
from gpuquery.api.stores import uri_pattern

MAX_INLINE_QUERY = 262_144
MAX_CONFIGMAP_QUERY = 900_000
MAX_INPUTS = 64
MAX_URIS = 128
MAX_TYPES = 256
MAX_PARAMETERS = 64

SOME_TEXT = r"\S"
QUERY_KEY = r"\.(sql|py)$"
DECIMAL = r"^-?[0-9]+(\.[0-9]+)?$"
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]*$"
Identifier = Annotated[str, Field(min_length=1, max_length=63, pattern=IDENTIFIER)]


INPUT_URI = uri_pattern(r"[^\p{Cc}\p{Zl}\p{Zp}]")
"""Every character but control characters and line ends: keys of objects have blanks and all kinds of signs."""
URI = Annotated[str, Field(min_length=1, max_length=1024, pattern=INPUT_URI)]
SNAPSHOT_ID = r"^[0-9]{1,19}$"
QueryText = Annotated[str, Field(min_length=1, max_length=MAX_INLINE_QUERY, pattern=SOME_TEXT)]
ANY_DEPTH = ("**", "**/*", "**/*.parquet")
"""Ends of globs that match every parquet file below them."""
HOST_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"


class InputFormat(StrEnum):
    """File formats of inputs."""

    AUTO = "auto"
    PARQUET = "parquet"
    CSV = "csv"
    NDJSON = "ndjson"


ENDINGS = {
    "/": InputFormat.PARQUET,
    ".parquet": InputFormat.PARQUET,
    ".csv": InputFormat.CSV,
    ".csv.gz": InputFormat.CSV,
    ".ndjson": InputFormat.NDJSON,
    ".jsonl": InputFormat.NDJSON,
}
"""How `format: auto` decides, in upper or lower case; a folder holds parquet."""


def _ends_with(endings: Iterable[str]) -> str:
    """Return a regular expression for RE2 and for Python."""
    return f"(?i)({'|'.join(ending.replace('.', '[.]') for ending in endings)})$"


def _all_end(*formats: InputFormat) -> str:
    """Return CEL: all `uris` have endings of one of these formats.

    Without regular expressions: each costs the API server the length of its text for each of thousands of URIs, and it
    refuses a CRD with such rules.
    """
    tests = (" || ".join(f"u.endsWith('{end}')" for end, found in ENDINGS.items() if found is f) for f in formats)
    return f"[self.uris.map(u, u.lowerAscii())].exists(us, {' || '.join(f'us.all(u, {test})' for test in tests)})"


FORMATS = (InputFormat.PARQUET, InputFormat.CSV, InputFormat.NDJSON)
KNOWN_ENDING = _ends_with(ENDINGS)
CSV_ENDING = _ends_with(ending for ending, found in ENDINGS.items() if found is InputFormat.CSV)


class ConfigMapKeyRef(Model):
    """A key of a ConfigMap in the job's namespace."""

    name: ResourceName
    """Name of the ConfigMap."""
    key: Annotated[str, Field(min_length=4, max_length=253, pattern=QUERY_KEY)]
    """Key that holds the query. Its ending sets the language: `.sql` or `.py`. At most 900,000 bytes."""


class Query(Model):
    """The query. Exactly one of `sql`, `python` and `configMapKeyRef`."""

    sql: QueryText | None = None
    """One SELECT statement, in the SQL of `dialect`. It can read only the declared inputs and its own CTEs; `:name` is
    a parameter. Put longer queries (over 262,144 characters) into a ConfigMap."""
    dialect: Dialect | None = None
    """The SQL dialect of the query. Default: `duckdb`. A query in `postgres`, `spark`, `trino`, `snowflake`, `bigquery`
    or `redshift` means the same as there; what is not supported is refused with its line and column. `polars` is
    Polars' own SQL, which is deprecated: its decimals lose places, its sums wrap, and more (docs/sql.md). Only with
    `sql`, or with a ConfigMap key that ends with `.sql`."""
    python: QueryText | None = None
    """Python source that defines `def query(inputs: dict[str, pl.LazyFrame], params: dict) -> pl.LazyFrame`.
    It runs only in the job's own pods. It must not write output itself."""
    config_map_key_ref: ConfigMapKeyRef | None = None
    """Takes the query from a ConfigMap. It is read once, when the job is accepted."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.sql) ? 1 : 0) + (has(self.python) ? 1 : 0) + (has(self.configMapKeyRef) ? 1 : 0) == 1",
            lambda self: [self.sql, self.python, self.config_map_key_ref].count(None) == 2,
            "exactly one of sql, python and configMapKeyRef must be set",
        ),
        Rule(
            "!has(self.dialect) || has(self.sql) || (has(self.configMapKeyRef) && "
            "self.configMapKeyRef.key.endsWith('.sql'))",
            lambda self: self.dialect is None or self.is_sql,
            "dialect is about SQL, and this query is Python: remove dialect",
            field_path=".dialect",
        ),
    )

    @property
    def is_sql(self) -> bool:
        """Whether it is SQL, by its field or the key's ending."""
        ref = self.config_map_key_ref
        return self.sql is not None or (ref is not None and ref.key.endswith(".sql"))


class CsvOptions(Model):
    """How CSV files are read."""

    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """The character between two fields."""
    header: bool = True
    """Whether the first line has the column names; if not, they are column_1, column_2, ..."""
    null_values: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=16)] = ()
    """Texts that mean null, quoted or not, in addition to the empty field. A quoted empty field is an empty text."""


class SchemaEvolution(StrEnum):
    """What may differ between the files of one input."""

    LOSSLESS = "lossless"
    STRICT = "strict"


class DeltaInput(Model):
    """Which version of a Delta table is read. Neither field: the newest."""

    version: Annotated[int, Field(ge=0)] | None = None
    """The version."""
    timestamp: Annotated[str, Field(min_length=10, max_length=40)] | None = None
    """The newest version at this moment, in ISO 8601: `"2026-01-31T12:00:00Z"`."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.version) && has(self.timestamp))",
            lambda self: self.version is None or self.timestamp is None,
            "delta has version and timestamp: set one of them, or neither",
        ),
    )


class TableInput(Model):
    """An Iceberg table of a REST catalog. Without `snapshotId`, `asOf` and `branch`, its current snapshot is read."""

    catalog: ResourceName
    """A catalog that the administrator has declared, or a Secret of the job's namespace with the catalog's `uri` and
    credentials."""
    name: Annotated[str, Field(min_length=3, max_length=512, pattern=TABLE_NAME)]
    """Namespace and name of the table: `sales.orders`."""
    snapshot_id: Annotated[str, Field(pattern=SNAPSHOT_ID)] | None = None
    """The snapshot, in quotes: most programs that read YAML and JSON round such large numbers."""
    as_of: Annotated[str, Field(min_length=10, max_length=40)] | None = None
    """The snapshot that was current at this moment, in ISO 8601: `"2026-01-31T12:00:00Z"`."""
    branch: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """The newest snapshot of this branch, or the snapshot of this tag."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.snapshotId), has(self.asOf), has(self.branch)].filter(x, x).size() <= 1",
            lambda self: [self.snapshot_id, self.as_of, self.branch].count(None) >= 2,
            "table has more than one of snapshotId, asOf and branch: set one of them, or none",
        ),
    )


class Input(Model):
    """A table that the query can read: exactly one of `uri`, `uris` and `table`."""

    name: Identifier
    """Name of the table in SQL, and its key in `inputs` in Python."""
    uri: URI | None = None
    """Its files: one file, a glob, or a folder that ends with `/`, which is read with all folders below it. In a glob
    (`s3://lake/orders/*.parquet`) `*` and `?` stand for characters of one name, `**` for any number of folders,
    `[a-c]` for one of some characters, and `{a,b}` for one of some texts. Stores: `s3://bucket/`, `gs://bucket/`,
    `abfss://container@account.dfs.core.windows.net/`, `az://container/` with `storage.az.account`, `https://host/`
    (single files), and `file:///` below a `mountPath` of `template.spec.volumes`, or with `gpuquery run`."""
    uris: Annotated[tuple[URI, ...], Field(min_length=1, max_length=MAX_URIS)] | None = None
    """Several of them, read as one table. A file that two of them match is read once."""
    delta: DeltaInput | None = None
    """Reads `uri` as a Delta table: `delta: {}` for its newest version."""
    table: TableInput | None = None
    """Reads an Iceberg table."""
    format: InputFormat = InputFormat.AUTO
    """`auto` decides by the ending: .parquet, .csv (.csv.gz), .ndjson or .jsonl; a folder is read as parquet."""
    hive_partitioned: bool | None = None
    """Whether `key=value` folders become columns. Default: yes if all files have the same keys."""
    csv: CsvOptions | None = None
    """Only with CSV files."""
    types: Annotated[
        Mapping[str, Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=MAX_TYPES)
    ] = {}
    """Types of columns whose files do not say them, by name: columns of CSV and NDJSON files, and of `key=value`
    folders. `{zip: String, price: "Decimal(12, 2)"}`. Other columns get the type that all their values have."""
    schema_evolution: SchemaEvolution = SchemaEvolution.LOSSLESS
    """What may differ between files: `lossless` widens types where no value changes, and fills columns that a file
    lacks with nulls; a warning says so. `strict` refuses files whose columns or types differ."""
    contract: Annotated[Contract | None, Field(alias="schema")] = None
    """What its columns must be. If the input differs, the job fails with SchemaMismatch before the query runs."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.uri) ? 1 : 0) + (has(self.uris) ? 1 : 0) + (has(self.table) ? 1 : 0) == 1",
            lambda self: [self.uri, self.uris, self.table].count(None) == 2,
            "exactly one of uri, uris and table must be set",
        ),
        Rule(
            "!has(self.delta) || has(self.uri)",
            lambda self: self.delta is None or self.uri is not None,
            "delta needs uri, the root of the table",
            field_path=".delta",
        ),
        Rule(
            "!(has(self.delta) || has(self.table)) || (self.format == 'auto' && !has(self.hivePartitioned) && "
            "!has(self.csv) && !has(self.types))",
            lambda self: (
                (self.delta is None and self.table is None)
                or (
                    self.format is InputFormat.AUTO
                    and self.hive_partitioned is None
                    and self.csv is None
                    and not self.types
                )
            ),
            "a table says its format, its partitions and its types itself: remove format, hivePartitioned, csv and "
            "types",
        ),
        Rule(
            f"self.format != 'auto' || has(self.delta) || !has(self.uri) || self.uri.matches('{KNOWN_ENDING}')",
            lambda self: self._known(self.uri),
            f"uri does not end with any of {' '.join(ENDINGS)}: set format",
            field_path=".format",
        ),
        Rule(
            f"self.format != 'auto' || !has(self.uris) || {_all_end(*FORMATS)}",
            lambda self: self.format is not InputFormat.AUTO or self.uris is None or self._one_format,
            f"the endings of uris are not those of one format, out of {' '.join(ENDINGS)}: make an input of each "
            "format, or set format",
            field_path=".format",
        ),
        Rule(
            f"!has(self.csv) || self.format == 'csv' || (self.format == 'auto' && (has(self.uri) ? "
            f"self.uri.matches('{CSV_ENDING}') : has(self.uris) && {_all_end(InputFormat.CSV)}))",
            lambda self: self.csv is None or self._holds_csv,
            "csv has options for CSV files only: set format to csv, or remove csv",
            field_path=".csv",
        ),
    )

    @property
    def places(self) -> tuple[str, ...]:
        """Its URIs; none for an Iceberg table, whose files only the catalog knows."""
        return (self.uri,) if self.uri is not None else self.uris or ()

    @property
    def shown(self) -> str:
        """What it reads, for messages."""
        if self.table is not None:
            return f"{self.table.catalog}: {self.table.name}"
        first, *others = self.places
        return f"{first} and {len(others)} more" if others else first

    def _known(self, uri: str | None) -> bool:
        if uri is None or self.format is not InputFormat.AUTO or self.delta is not None:
            return True
        return bool(re.search(KNOWN_ENDING, uri))

    @property
    def _one_format(self) -> bool:
        return any(
            all(
                uri.lower().endswith(tuple(e for e, found in ENDINGS.items() if found is format)) for uri in self.places
            )
            for format in FORMATS
        )

    @property
    def _holds_csv(self) -> bool:
        auto = self.format is InputFormat.AUTO and bool(self.places)
        return self.format is InputFormat.CSV or (auto and all(re.search(CSV_ENDING, uri) for uri in self.places))


class ParameterKind(StrEnum):
    """Types of a single value."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"


DecimalText = Annotated[str, Field(max_length=64, pattern=DECIMAL)]
DayText = Annotated[str, Field(max_length=10, pattern=DATE, json_schema_extra={"format": "date"})]
MomentText = Annotated[str, Field(max_length=40)]
Some = Field(min_length=1, max_length=1024)


class Parameter(Model):
    """A typed value that is bound to the parsed query, never pasted into its text. Exactly one field is set."""

    string: Annotated[str, Field(max_length=65536)] | None = None
    """A text."""
    integer: int | None = None
    """A 64-bit whole number."""
    number: float | None = None
    """A floating-point number."""
    decimal: DecimalText | None = None
    """An exact decimal number, in quotes: `"12.50"`. Up to 38 digits."""
    boolean: bool | None = None
    """true or false."""
    date: DayText | None = None
    """A date, in quotes: `"1994-01-31"`."""
    timestamp: MomentText | None = None
    """A moment in ISO 8601, in quotes: `"1994-01-31T12:00:00"`."""
    strings: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Some] | None = None
    """A list of texts, for `IN :name`."""
    integers: Annotated[tuple[int, ...], Some] | None = None
    """A list of whole numbers, for `IN :name`."""
    numbers: Annotated[tuple[float, ...], Some] | None = None
    """A list of floating-point numbers."""
    decimals: Annotated[tuple[DecimalText, ...], Some] | None = None
    """A list of exact decimal numbers, in quotes."""
    dates: Annotated[tuple[DayText, ...], Some] | None = None
    """A list of dates, in quotes."""
    timestamps: Annotated[tuple[MomentText, ...], Some] | None = None
    """A list of moments, in quotes."""
    null_of: ParameterKind | None = None
    """NULL of this type: `{nullOf: date}`."""

    _FIELDS: ClassVar[tuple[str, ...]] = (
        "string", "integer", "number", "decimal", "boolean", "date", "timestamp", "strings", "integers", "numbers",
        "decimals", "dates", "timestamps", "null_of",
    )  # fmt: skip
    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"[{', '.join(f'has(self.{to_camel(field)})' for field in _FIELDS)}].filter(x, x).size() == 1",
            lambda self: sum(getattr(self, field) is not None for field in self._FIELDS) == 1,
            f"a parameter is exactly one of {', '.join(to_camel(field) for field in _FIELDS[:-1])} and "
            f"{to_camel(_FIELDS[-1])}",
        ),
    )

    @property
    def kind(self) -> str:
        """The type of the value: the name of the field that is set, or the value of `nullOf`."""
        return self.null_of or next(field for field in self._FIELDS if getattr(self, field) is not None)

    @property
    def raw(self) -> Any:
        """The value as it was written; None for NULL."""
        return None if self.null_of else getattr(self, self.kind)


_EACH = "(has(i.uri) ? [i.uri] : has(i.uris) ? i.uris : []).all(u"
"""CEL: every URI of an input `i`, as `u`; the caller closes the bracket."""
_NO_FOLDERS = "!has(self.inputs) || !has(self.output.uri)"
_SAME = (
    "(has(i.delta) && has(self.output.delta) && (i.uri.endsWith('/') ? i.uri : i.uri + '/') == "
    "(self.output.uri.endsWith('/') ? self.output.uri : self.output.uri + '/'))"
)
"""CEL: whether an input `i` is the Delta table that is written: it is read in the version that it has before."""
_DEEP = " || ".join(f"u.endsWith('{ending}')" for ending in ANY_DEPTH)
"""CEL: whether a URI `u` is such a glob."""


class GpuQueryJobSpec(Model):
    """What to run. Immutable, except for `activeDeadlineSeconds`, `suspend` and `ttlSecondsAfterFinished`."""

    query: Query
    """The query: exactly one of `sql`, `python` and `configMapKeyRef`."""
    inputs: Annotated[tuple[Input, ...], Field(max_length=MAX_INPUTS)] = ()
    """Tables that the query can read. At most 64."""
    parameters: Annotated[Mapping[str, Parameter], Field(max_length=MAX_PARAMETERS)] = {}
    """Typed values for the query, by name: `{since: {date: "1994-01-01"}}`. At most 64."""
    output: Output
    """Where the result goes."""
    engine: EngineChoice = EngineChoice.AUTO
    """Execution model: `tasks` (task graphs, RAPIDS 25.08 to 26.04), `rapidsmpf` (asynchronous coroutine networks) or
    `cpu` (Polars' own streaming engine, no GPU). `auto` lets the operator choose; `status.plan.why` says why."""
    cluster: ClusterChoice = ClusterChoice.AUTO
    """Cluster shape: `single` is one process on at most one GPU, `distributed` one process for each GPU. `auto` lets
    the operator choose from the number of GPUs and the size of the data."""
    scheduler: SchedulerChoice | None = None
    """Deprecated: `synchronous` is `cluster: single`, `distributed` is `cluster: distributed`. Not together with
    `cluster`."""
    network: NetworkChoice = NetworkChoice.AUTO
    """How the pods of a distributed query exchange rows: `tcp`, `rdma` (InfiniBand or RoCE; the operator must know the
    nodes' RDMA resource), or `auto`, the fastest transport that UCX finds. Within a pod GPUs use NVLink with any value.
    Only with `cluster: distributed`."""
    dask: DaskSpec | None = None
    """Runs the query on a Dask cluster (this operator's, dask-kubernetes' or a running one) instead of a set of ranks.
    Implies `cluster: distributed`. Default: a native one if the engine needs Dask (RAPIDS 25.08 to 26.04), else
    none."""
    executor_options: Annotated[Mapping[str, Any], Field(max_length=64)] = {}
    """Options of the engine, by their names in the release: `{target_partition_size: 1.5GB}`. They are checked against
    the release when the job is accepted."""
    preflight: PreflightChoice = PreflightChoice.AUTO
    """When the query is checked in a pod without a GPU before GPUs are requested: `always`, `never`, or `auto`: for
    more than one GPU, and if the size of the data decides."""
    reuse: Reuse | None = None
    """Completes the job without a GPU if the output already holds the result of an earlier job: the same query,
    parameters, inputs, engine, release and form of the output. The condition `Reused` names that job, or the first
    thing that differs. Default: off. With `output.mode` `overwrite` or `errorIfExists` only."""
    dry_run: bool = False
    """Stops after the preflight: the job is Complete if the query can run. Only the preflight reads data, nothing is
    written, and no GPU is requested."""
    workers: Workers = Workers()
    """The pods that run the query."""
    runtime: Runtime = Runtime()
    """The software that runs the query."""
    storage: Storage = Storage()
    """How the pods reach the object store."""
    template: Template = Template()
    """Additions to the pods."""
    backoff_limit: Annotated[int, Field(ge=0, le=100)] = 2
    """How many failed attempts are retried. Errors of the query or its data are never retried. Attempts that were
    preempted or lost their node do not count, but the twentieth ends the job."""
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """Maximum time from the start of the first pod (the preflight's, if it has its own) to the end, in seconds. After
    that the job fails with DeadlineExceeded."""
    start_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] = 600
    """Maximum time until the pods of an attempt are ready, or the preflight's pod has started, in seconds. After that
    the job fails with StartDeadlineExceeded and releases everything."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=315_360_000)] | None = None
    """When the finished job is deleted, in seconds after its end. Default: when its namespace has too many finished
    jobs. The output stays."""

    suspend: bool = False
    """`true` removes all pods of a job that has not ended, and so frees its GPUs, but keeps its history; a commit that
    has begun is finished first. `false` again: another attempt begins, and `backoffLimit` does not count the one that
    was ended. A job may be created suspended. `activeDeadlineSeconds` does not run while a job is suspended, and starts
    anew when it is resumed."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!has(self.parameters) || self.parameters.all(k, k.matches('{IDENTIFIER}'))",
            lambda self: all(re.match(IDENTIFIER, name) for name in self.parameters),
            "a parameter's name is made of letters, digits and '_' and does not begin with a digit",
            field_path=".parameters",
        ),
        Rule(
            "!has(self.parameters) || !('true' in self.parameters || 'false' in self.parameters)",
            lambda self: not {"true", "false"} & set(self.parameters),
            "a parameter is called true or false: YAML reads n, y, on and off as such, so put the name in quotes",
            field_path=".parameters",
        ),
        Rule(
            "",  # the list's type says so: it is a map by name
            lambda self: len({i.name for i in self.inputs}) == len(self.inputs),
            "two inputs have the same name",
            field_path=".inputs",
        ),
        Rule(
            f"{_NO_FOLDERS} || self.inputs.all(i, {_SAME} || {_EACH}, "
            "!(u + '/').startsWith(self.output.uri + (self.output.uri.endsWith('/') ? '' : '/'))))",
            lambda self: not any((u + "/").startswith(self.output.folder) for u in self._read_beside),
            "an input lies inside the output: the job would read what it writes",
            field_path=".output",
        ),
        Rule(
            f"{_NO_FOLDERS} || self.inputs.all(i, {_SAME} || {_EACH}, !u.endsWith('/') || "
            "!(self.output.uri + '/').startsWith(u)))",
            lambda self: not any(u.endswith("/") and self.output.folder.startswith(u) for u in self._read_beside),
            "the output lies inside an input's folder: the next run would read what this one wrote",
            field_path=".output",
        ),
        Rule(
            f"{_NO_FOLDERS} || self.inputs.all(i, {_EACH}, !({_DEEP}) || "
            "!(self.output.uri + '/').startsWith(u.substring(0, u.indexOf('**')))))",
            lambda self: (
                not any(
                    u.endswith(ANY_DEPTH) and self.output.folder.startswith(u.split("**")[0]) for u in self._read_beside
                )
            ),
            "the output lies where an input's ** looks: the next run would read what this one wrote",
            field_path=".output",
        ),
        Rule(
            f"!has(self.reuse) || self.output.mode in {[mode.value for mode in WHOLE]}",
            lambda self: self.reuse is None or self.output.mode in WHOLE,
            "reuse needs output.mode overwrite or errorIfExists: with any other mode the table also holds rows that "
            "this query does not give",
            field_path=".reuse",
        ),
        SIZE_RULE,
        *COMBINATIONS,
    )
    """Rules of one version of the object."""
    immutable: ClassVar[tuple[str, ...]] = (
        "query", "inputs", "parameters", "output", "engine", "cluster", "workers", "runtime", "storage", "template",
        "backoffLimit", "startDeadlineSeconds", "scheduler", "network", "dask", "executorOptions", "preflight",
        "dryRun", "reuse",
    )  # fmt: skip
    """Fields that cannot change after the object is created (transition rules of the CRD)."""

    @property
    def _read_beside(self) -> tuple[str, ...]:
        """URIs of inputs, without the Delta table that is also written; none if the output is no folder."""
        folder = self.output.folder
        if not folder:
            return ()
        same = [i for i in self.inputs if i.delta and self.output.delta and f"{i.uri}/" in (folder, f"{folder}/")]
        return tuple(uri for i in self.inputs if i not in same for uri in i.places)

    @property
    def shape(self) -> ClusterChoice:
        """The requested cluster shape, from `cluster` or `scheduler`."""
        return self.scheduler.cluster if self.scheduler else self.cluster
