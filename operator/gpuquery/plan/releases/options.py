"""The options of the streaming executor that several releases share.

Names, types, defaults and purpose are those of `cudf_polars.utils.config.StreamingExecutor` of each release. Ranges are
those that the release enforces, and beyond that only obvious ones: no count below one.
"""

from __future__ import annotations

from dataclasses import replace

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.plan.releases.model import Option, OptionKind, Refusal

TASKS = frozenset({EngineChoice.TASKS})
RAPIDSMPF = frozenset({EngineChoice.RAPIDSMPF})
SINGLE = frozenset({ClusterChoice.SINGLE})
DISTRIBUTED = frozenset({ClusterChoice.DISTRIBUTED})
MIB = 2**20


def by_name(*options: Option) -> dict[str, Option]:
    """Return options by their names."""
    return {option.name: option for option in options}


FALLBACK_MODE = Option(
    name="fallback_mode",
    kind=OptionKind.CHOICE,
    default="warn",
    choices=("warn", "raise", "silent"),
    about="What happens when an operation cannot work on several partitions: it works on one, with or without a "
    "warning, or the query fails.",
)
MAX_ROWS_PER_PARTITION = Option(
    name="max_rows_per_partition",
    kind=OptionKind.COUNT,
    default=1_000_000,
    least=1,
    about="Most rows of one partition of data that is in memory already.",
)
UNIQUE_FRACTION = Option(
    name="unique_fraction",
    kind=OptionKind.MAPPING,
    default={},
    fields=by_name(Option(name="*", kind=OptionKind.FRACTION, above=0, most=1, about="Fraction, by column.")),
    about="Estimated share of different values among all values, by column; 1 for columns that are not named.",
)
TARGET_PARTITION_SIZE = Option(
    name="target_partition_size",
    kind=OptionKind.BYTES,
    least=0,
    about="Size of the partitions into which parquet files are read; 0 is the default: 1/16 of the GPU's memory on a "
    "single GPU and 1/40 on several, at least 1 GB and at most 10 GB.",
)
TARGET_PARTITION_SIZE_2604 = replace(
    TARGET_PARTITION_SIZE,
    about="Size of the partitions into which parquet files are read; 0 is the default: 1/16 of the GPU's memory with "
    "tasks on a single GPU and 1/40 otherwise, at least 1 GB and at most 10 GB.",
)
TARGET_PARTITION_SIZE_2606 = replace(
    TARGET_PARTITION_SIZE,
    about="Size of the partitions into which parquet files are read; 0 is the default: 1/40 of the memory of the "
    "smallest GPU, at most 1.5 GB.",
)
GROUPBY_N_ARY = Option(
    name="groupby_n_ary",
    kind=OptionKind.COUNT,
    default=32,
    least=2,
    about="How many partitions one step of a GROUP BY joins into one.",
)
BROADCAST_JOIN_LIMIT = Option(
    name="broadcast_join_limit",
    kind=OptionKind.COUNT,
    least=0,
    about="Most partitions of the smaller table of a join that is copied to all instead of shuffled; 0 is the default: "
    "32 on a single GPU and 2 on several.",
)
BROADCAST_JOIN_LIMIT_2604 = replace(
    BROADCAST_JOIN_LIMIT,
    about="Most partitions of the smaller table of a join that is copied to all instead of shuffled; 0 is the default: "
    "32 with tasks on a single GPU and 2 on several; with rapidsmpf one for each 8 GB of the GPU's memory, at most 5.",
)
BROADCAST_LIMIT = Option(
    name="broadcast_limit",
    kind=OptionKind.BYTES,
    least=0,
    about="Most bytes of a table that is copied to all ranks instead of shuffled; 0 is the default: 15 % of the memory "
    "of the smallest GPU, at most 16 GB.",
)
_ONLY_INTERNAL = Refusal(
    value="rapidsmpf-single",
    because="is the release's own word for rapidsmpf on a single GPU: use shuffle_method rapidsmpf",
)
_NO_TASKS = Refusal(
    value="tasks",
    engines=RAPIDSMPF,
    because="cannot shuffle for the engine rapidsmpf: leave it out, or use engine tasks",
)
SHUFFLE_METHOD_2508 = Option(
    name="shuffle_method",
    kind=OptionKind.CHOICE,
    choices=("tasks", "rapidsmpf"),
    refusals=(
        _ONLY_INTERNAL,
        Refusal(
            value="rapidsmpf",
            clusters=SINGLE,
            because="cannot shuffle on a single GPU in this release: use tasks, cluster distributed, or release 25.10 "
            "or newer",
        ),
    ),
    about="How rows are moved between partitions; the default is rapidsmpf on several GPUs and tasks on a single one.",
)
SHUFFLE_METHOD = replace(SHUFFLE_METHOD_2508, refusals=(_ONLY_INTERNAL,))
SHUFFLE_METHOD_2512 = replace(
    SHUFFLE_METHOD,
    refusals=(_ONLY_INTERNAL, _NO_TASKS),
    about="How rows are moved between partitions; the default is rapidsmpf on several GPUs and with the engine "
    "rapidsmpf, and tasks with the engine tasks on a single GPU.",
)
SHUFFLER_INSERTION_METHOD = Option(
    name="shuffler_insertion_method",
    kind=OptionKind.CHOICE,
    default="insert_chunks",
    choices=("insert_chunks", "concat_insert"),
    engines=TASKS,
    about="How the shuffle method rapidsmpf takes in partitions: one by one, or joined first.",
)
RAPIDSMPF_SPILL = Option(
    name="rapidsmpf_spill",
    kind=OptionKind.BOOLEAN,
    default=False,
    engines=TASKS,
    clusters=DISTRIBUTED,
    about="Whether what tasks take and return can be moved out of the GPU's memory by rapidsmpf.",
)
_DIRECTORY_ONLY = Refusal(
    value=False,
    clusters=DISTRIBUTED,
    because="would make all ranks write one file: leave it out, or use cluster single",
)
SINK_TO_DIRECTORY = Option(
    name="sink_to_directory",
    kind=OptionKind.BOOLEAN,
    refusals=(_DIRECTORY_ONLY,),
    about="Whether a result is written as a folder of files instead of one file; the default is true on several GPUs "
    "and false on a single one.",
)
SINK_TO_DIRECTORY_2606 = replace(
    SINK_TO_DIRECTORY,
    default=True,
    refusals=(Refusal(value=False, because="is refused by this release, which always writes a folder: leave it out"),),
    about="Whether a result is written as a folder of files; always true.",
)
_PLANNING = (
    Option(
        name="use_io_partitioning",
        kind=OptionKind.BOOLEAN,
        default=True,
        about="Whether sizes of files decide how many partitions are read.",
    ),
    Option(
        name="use_reduction_planning",
        kind=OptionKind.BOOLEAN,
        default=False,
        about="Whether statistics of columns decide how many partitions a GROUP BY or DISTINCT returns.",
    ),
    Option(
        name="use_join_heuristics",
        kind=OptionKind.BOOLEAN,
        default=True,
        about="Whether the rows of a join are estimated from its tables.",
    ),
    Option(
        name="use_sampling",
        kind=OptionKind.BOOLEAN,
        default=True,
        about="Whether data is sampled to estimate how many different values a column has.",
    ),
    Option(
        name="default_selectivity",
        kind=OptionKind.FRACTION,
        default=0.8,
        least=0,
        most=1,
        about="Share of rows that a filter is taken to keep.",
    ),
)
STATS_PLANNING = Option(
    name="stats_planning",
    kind=OptionKind.MAPPING,
    unchecked=True,
    fields=by_name(*_PLANNING),
    about="What the plan takes from statistics of files and columns.",
)
CLIENT_DEVICE_THRESHOLD = Option(
    name="client_device_threshold",
    kind=OptionKind.FRACTION,
    default=0.5,
    least=0,
    most=1,
    engines=RAPIDSMPF,
    clusters=SINGLE,
    about="Share of the GPU's memory above which data is moved out of it; 0 and 1 are no limit.",
)
_SPILL_LIMIT = "set RAPIDSMPF_SPILL_DEVICE_LIMIT in template.spec.env"
CLIENT_DEVICE_THRESHOLD_2606 = replace(
    CLIENT_DEVICE_THRESHOLD,
    clusters=SINGLE | DISTRIBUTED,
    instead=_SPILL_LIMIT,
    about="Taken by the release and not used.",
)
MAX_IO_THREADS_2602 = Option(
    name="max_io_threads",
    kind=OptionKind.COUNT,
    default=2,
    least=1,
    engines=RAPIDSMPF,
    about="Most threads that read data.",
)
MAX_IO_THREADS = replace(MAX_IO_THREADS_2602, default=4)
SAMPLE_CHUNK_COUNT = Option(
    name="sample_chunk_count",
    kind=OptionKind.COUNT,
    default=2,
    least=1,
    about="Most chunks that are sampled before the decision.",
)
DYNAMIC_PLANNING = Option(
    name="dynamic_planning",
    kind=OptionKind.MAPPING,
    unchecked=True,
    default=True,
    can_be_off=True,
    engines=RAPIDSMPF,
    fields=by_name(SAMPLE_CHUNK_COUNT),
    about="Whether shuffles are decided while the query runs, from samples of the real data.",
)
DYNAMIC_PLANNING_2606 = replace(
    DYNAMIC_PLANNING,
    fields=by_name(
        SAMPLE_CHUNK_COUNT,
        Option(
            name="bloom_filter_threshold",
            kind=OptionKind.FRACTION,
            default=0.5,
            least=0,
            most=1,
            about="Ratio of rows (small to large) below which the large side of a join is filtered first; 0 is never.",
        ),
    ),
)
DYNAMIC_PLANNING_2608 = replace(
    DYNAMIC_PLANNING,
    fields=by_name(
        SAMPLE_CHUNK_COUNT,
        Option(
            name="join_prefilter_threshold",
            kind=OptionKind.FRACTION,
            default=0.5,
            least=0,
            most=1,
            about="Ratio of rows (small to large) below which one side of a join is filtered first; 0 is never.",
        ),
        Option(
            name="join_prefilter_max_key_columns",
            kind=OptionKind.COUNT,
            default=1,
            least=1,
            nullable=True,
            about="Most key columns that this filter uses; null is all of them.",
        ),
        Option(
            name="join_prefilter_trace",
            kind=OptionKind.BOOLEAN,
            default=False,
            about="Whether rows before and after these filters are counted.",
        ),
    ),
)
_JOIN_THRESHOLD = Option(
    name="threshold",
    kind=OptionKind.FRACTION,
    default=0.5,
    least=0,
    most=1,
    about="Ratio of rows (keys to filtered table) below which a filter is put in.",
)
_JOIN_TRACE = Option(
    name="trace", kind=OptionKind.BOOLEAN, default=False, about="Whether decisions about filters are traced."
)
JOIN_FILTER_PUSHDOWN_2608 = Option(
    name="join_filter_pushdown",
    kind=OptionKind.MAPPING,
    default=False,
    can_be_off=True,
    engines=RAPIDSMPF,
    fields=by_name(_JOIN_THRESHOLD, _JOIN_TRACE),
    about="Whether one side of an inner join is filtered by the keys of the other in the plan already.",
)
JOIN_FILTER_PUSHDOWN_2610 = replace(
    JOIN_FILTER_PUSHDOWN_2608,
    fields=by_name(
        _JOIN_THRESHOLD,
        Option(
            name="bloom_filter_max_size",
            kind=OptionKind.BYTES,
            default=32 * MIB,
            least=0,
            about="Most bytes of a Bloom filter, above which an exact semi-join is preferred; 0 is no Bloom filters.",
        ),
        _JOIN_TRACE,
    ),
)
SPILL_TO_PINNED_MEMORY = Option(
    name="spill_to_pinned_memory",
    kind=OptionKind.BOOLEAN,
    default=False,
    engines=RAPIDSMPF,
    clusters=SINGLE,
    any_text_is_true=True,
    about="Whether data that leaves the GPU goes to pinned memory of the host, which is faster.",
)
SPILL_TO_PINNED_MEMORY_2606 = replace(
    SPILL_TO_PINNED_MEMORY,
    clusters=SINGLE | DISTRIBUTED,
    instead="set RAPIDSMPF_PINNED_MEMORY in template.spec.env",
    about="Taken by the release and not used.",
)
PY_EXECUTOR_MAX_WORKERS = Option(
    name="rapidsmpf_py_executor_max_workers",
    kind=OptionKind.COUNT,
    least=1,
    nullable=True,
    engines=RAPIDSMPF,
    about="Most Python threads that drive the query; the default is Python's own, the number of CPUs and 4 more, at "
    "most 32.",
)
NUM_PY_EXECUTORS = Option(
    name="num_py_executors",
    kind=OptionKind.COUNT,
    default=8,
    least=1,
    engines=RAPIDSMPF,
    about="Most Python threads that drive the query.",
)
