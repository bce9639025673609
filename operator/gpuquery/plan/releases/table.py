"""Every RAPIDS release that is known, with what it can do. Data: `make test-releases` compares it with the packages.

The words of `spec.engine` and `spec.runtime.release` come from here: `make generate` after a new release or engine. The
rows of an engine that has no member yet name it as `EngineChoice("word")`. Where a release runs several engines, `auto`
means the one that appears first in this file.

Upstream references: `cudf#N` is an issue or pull request of NVIDIA/cudf on GitHub, `distributed#N` of dask/distributed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.plan.releases import kvikio, options
from gpuquery.plan.releases.model import Cell, DaskFacts, Option, Partitions, Release, SqlOnGpus, Way

TASKS_SINGLE = (EngineChoice.TASKS, ClusterChoice.SINGLE)
TASKS_DISTRIBUTED = (EngineChoice.TASKS, ClusterChoice.DISTRIBUTED)
RAPIDSMPF_SINGLE = (EngineChoice.RAPIDSMPF, ClusterChoice.SINGLE)
RAPIDSMPF_DISTRIBUTED = (EngineChoice.RAPIDSMPF, ClusterChoice.DISTRIBUTED)
Cells = Mapping[tuple[EngineChoice, ClusterChoice], Cell]

_CPU: Cells = {
    (EngineChoice.CPU, ClusterChoice.SINGLE): Cell(way=Way.POLARS),
    (EngineChoice.CPU, ClusterChoice.DISTRIBUTED): Cell(
        way=None, collects=False, sinks=False, because="Polars' own engine runs in one process"
    ),
}
_MB, _GB = 10**6, 10**9
_PARTITIONS_2508 = Partitions(share=0.025, least=_GB, most=10 * _GB)
_PARTITIONS_2606 = Partitions(share=0.025, least=None, most=1_500 * _MB)
_ALONE = 0.0625
"""Share of the only GPU for a partition of tasks."""
_OVER_UCX = DaskFacts()
_BY_DASK_ENGINE = DaskFacts(without=frozenset({"enable-jit-unspill"}), own_resource=True)
_IN_PARTS = frozenset({"count", "count_star", "sum", "avg", "mean", "min", "max", "any_value", "bool_and", "bool_or"})
_SPREAD = frozenset({"stddev", "stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop"})
_SQL_2604 = SqlOnGpus(full_groups=False, sorts=False, windows=False, aggregates=_IN_PARTS)
"""Read in cudf_polars/experimental/{sort,groupby}.py of 26.04: rapidsmpf sorts on one partition, and there is no
over.py. Of its groups 26.04 was tried, and translates no less than those before it."""
_SQL_2606 = replace(_SQL_2604, full_groups=True)
"""Not tried: what is shared is taken to be that of 26.04, and what groups take that of 26.10."""
_SQL_2610 = SqlOnGpus(full_groups=True, sorts=True, windows=True, aggregates=_IN_PARTS | _SPREAD)
"""Read in cudf_polars/streaming/{sort,over,groupby}.py of 26.10."""
_ONE_GPU = "execution on a GPU, and the files that it writes"
_MANY_GPUS = "execution on several GPUs, shuffles between them, and the files that they write"

# --- 25.08 and 25.10: task graphs; the cluster shape is called scheduler, and there is no choice of an engine.

_NO_RAPIDSMPF = Cell(way=None, collects=False, sinks=False, because="the engine rapidsmpf is not in this release")
_SCHEDULER: Cells = {
    **_CPU,
    TASKS_SINGLE: Cell(
        way=Way.GPU_ENGINE, options={"scheduler": "synchronous"}, partition_share=_ALONE, unverified=_ONE_GPU
    ),
    TASKS_DISTRIBUTED: Cell(way=Way.DASK, options={"scheduler": "distributed"}, unverified=_MANY_GPUS),
    RAPIDSMPF_SINGLE: _NO_RAPIDSMPF,
    RAPIDSMPF_DISTRIBUTED: _NO_RAPIDSMPF,
}
_EXPERIMENTAL = {"package": "cudf_polars.experimental", "Dask": "distributed.get_client"}
_UCXX_NOT_REQUIRED = (
    "rapidsmpf does not require ucxx, and without it a shuffle on several GPUs fails with an ImportError: the image "
    "must have ucxx"
)
_UCXX_FIRST = "rapidsmpf.communicator.ucxx cannot be imported before ucxx: import ucxx first"
_OUTER_CAST = "of two nested casts it applies only the outer one, so CAST(CAST(x AS INTEGER) AS DOUBLE) is x"
_OPTIONS_2508 = options.by_name(
    options.FALLBACK_MODE,
    options.MAX_ROWS_PER_PARTITION,
    options.UNIQUE_FRACTION,
    options.TARGET_PARTITION_SIZE,
    options.GROUPBY_N_ARY,
    options.BROADCAST_JOIN_LIMIT,
    options.SHUFFLE_METHOD_2508,
    options.RAPIDSMPF_SPILL,
    options.SINK_TO_DIRECTORY,
)
R25_08 = Release(
    name="25.08",
    version="25.8.0",
    polars=">=1.28,<1.32",
    cuda=(12,),
    python=("3.10", "3.13"),
    cells=_SCHEDULER,
    options=_OPTIONS_2508,
    partitions=_PARTITIONS_2508,
    dask=DaskFacts(protocol="ucxx"),
    sql=_SQL_2604,
    defects=(
        _UCXX_NOT_REQUIRED,
        _UCXX_FIRST,
        "rapidsmpf_spill on a single GPU is accepted but does nothing: it is refused here",
    ),
    undeclared=("ucxx",),
    sql_unlike="it has no decimals, and fixed-point numbers would become floating-point ones",
    takes_ca=False,
    pins={"rapidsmpf": "25.8.*", "ucxx": "0.45.*", "dask-cuda": "25.8.*", "dask": "2025.7.0"},
    words={"cluster": "scheduler", **_EXPERIMENTAL},
)
_OPTIONS_2510 = _OPTIONS_2508 | options.by_name(options.SHUFFLE_METHOD, options.STATS_PLANNING)
R25_10 = Release(
    name="25.10",
    version="25.10.0",
    polars=">=1.28,<1.33",
    cuda=(12, 13),
    python=("3.10", "3.13"),
    cells=_SCHEDULER,
    options=_OPTIONS_2510,
    partitions=_PARTITIONS_2508,
    dask=_OVER_UCX,
    sql=_SQL_2604,
    defects=(_UCXX_NOT_REQUIRED, _UCXX_FIRST),
    undeclared=("ucxx",),
    sql_unlike=_OUTER_CAST,
    pins={"rapidsmpf": "25.10.*", "ucxx": "0.46.*", "dask-cuda": "25.10.*", "dask": "2025.9.1"},
    words={"cluster": "scheduler", **_EXPERIMENTAL},
)

# --- 25.12 to 26.04: two engines, called runtime; `scheduler` is deprecated in favour of `cluster`.

_COLLECT_ONLY = Cell(
    way=None,
    sinks=False,
    options={"runtime": "rapidsmpf", "cluster": "single"},
    because="it can only collect: it has no actor that writes results (cudf#20485, added in 26.04 by cudf#20965)",
)
_TASKS: Cells = {
    **_CPU,
    TASKS_SINGLE: Cell(
        way=Way.GPU_ENGINE,
        options={"cluster": "single", "runtime": "tasks"},
        partition_share=_ALONE,
        unverified=_ONE_GPU,
    ),
    TASKS_DISTRIBUTED: Cell(
        way=Way.DASK, options={"cluster": "distributed", "runtime": "tasks"}, unverified=_MANY_GPUS
    ),
}
_BY_DASK = {"runtime": "rapidsmpf", "cluster": "distributed"}
_WORDS_2512 = {"engine": "runtime", "cluster": "cluster", **_EXPERIMENTAL}
_OPTIONS_2512 = _OPTIONS_2510 | options.by_name(options.SHUFFLE_METHOD_2512, options.CLIENT_DEVICE_THRESHOLD)
R25_12 = Release(
    name="25.12",
    version="25.12.0",
    polars=">=1.29,<1.35",
    cuda=(12, 13),
    python=("3.10", "3.13"),
    cells={
        **_TASKS,
        RAPIDSMPF_SINGLE: _COLLECT_ONLY,
        RAPIDSMPF_DISTRIBUTED: Cell(
            way=None,
            sinks=False,
            options=_BY_DASK,
            because="it would silently run on one GPU, because its check reads an option that is already empty "
            "(cudf_polars/experimental/rapidsmpf/core.py, evaluate_logical_plan)",
        ),
    },
    options=_OPTIONS_2512,
    partitions=_PARTITIONS_2508,
    dask=_OVER_UCX,
    sql=_SQL_2604,
    defects=(
        "rapidsmpf on several GPUs silently runs on one of them: it is refused here",
        "rapidsmpf cannot write results (cudf#20485)",
        _UCXX_NOT_REQUIRED,
        _UCXX_FIRST,
    ),
    undeclared=("ucxx",),
    sql_unlike=_OUTER_CAST,
    pins={"rapidsmpf": "25.12.*", "ucxx": "0.47.*", "dask-cuda": "25.12.*", "dask": "2025.9.2"},
    words=_WORDS_2512,
)
_OPTIONS_2602 = _OPTIONS_2512 | options.by_name(options.SHUFFLER_INSERTION_METHOD, options.MAX_IO_THREADS_2602)
R26_02 = Release(
    name="26.02",
    version="26.2.1",
    polars=">=1.30,<1.36",
    cuda=(12, 13),
    python=("3.10", "3.13"),
    cells={
        **_TASKS,
        RAPIDSMPF_SINGLE: _COLLECT_ONLY,
        RAPIDSMPF_DISTRIBUTED: Cell(
            way=None,
            sinks=False,
            options=_BY_DASK,
            because="the release calls it under construction, and it has no actor that writes results "
            "(cudf#20485, added in 26.04 by cudf#20965)",
        ),
    },
    options=_OPTIONS_2602,
    partitions=_PARTITIONS_2508,
    dask=_OVER_UCX,
    sql=_SQL_2604,
    defects=(
        "rapidsmpf on several GPUs is under construction: it is refused here",
        "rapidsmpf cannot write results (cudf#20485)",
        "libcudf does not declare nvidia-nvjitlink, and a lean image cannot import it: the image must have it",
        _UCXX_NOT_REQUIRED,
        _UCXX_FIRST,
    ),
    undeclared=("ucxx", "nvidia-nvjitlink"),
    pins={"rapidsmpf": "26.2.*", "ucxx": "0.48.*", "dask-cuda": "26.2.*", "dask": "2026.1.1"},
    words=_WORDS_2512,
)
_WORKER_TTL = (
    "a query holds the event loop of its Dask workers, and the scheduler restarts them after five minutes without a "
    "heartbeat (distributed#8538): DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=None prevents that"
)
_REPLICATED = (
    "every rank writes a result that every rank holds in full, so its rows appear once for each GPU (cudf#23525, fixed "
    "in 26.10)"
)
_OPTIONS_2604 = {
    name: option for name, option in _OPTIONS_2602.items() if name != "shuffler_insertion_method"
} | options.by_name(
    options.TARGET_PARTITION_SIZE_2604,
    options.BROADCAST_JOIN_LIMIT_2604,
    options.MAX_IO_THREADS,
    options.DYNAMIC_PLANNING,
    options.SPILL_TO_PINNED_MEMORY,
    options.PY_EXECUTOR_MAX_WORKERS,
)
R26_04 = Release(
    name="26.04",
    version="26.4.0",
    polars=">=1.30,<1.39",
    cuda=(12, 13),
    python=("3.11", "3.14"),
    cells={
        **_TASKS,
        RAPIDSMPF_SINGLE: Cell(
            way=Way.GPU_ENGINE,
            options={"runtime": "rapidsmpf", "cluster": "single"},
            packages=("rapidsmpf",),
            unverified=_ONE_GPU,
        ),
        RAPIDSMPF_DISTRIBUTED: Cell(
            way=Way.DASK,
            options=_BY_DASK,
            replicated_safe=False,
            packages=("rapidsmpf", "ucxx"),
            unverified=_MANY_GPUS,
        ),
    },
    options=_OPTIONS_2604,
    partitions=_PARTITIONS_2508,
    dask=_OVER_UCX,
    sql=_SQL_2604,
    defects=(
        _REPLICATED,
        "SPMD (cudf#21619) needs the launcher rrun, and by default all its ranks write one file: several GPUs are "
        "driven by Dask here",
        "on several GPUs the query fails when a rank has nothing to write, as with fewer partitions than GPUs "
        "(cudf#22285, fixed in 26.06)",
        _WORKER_TTL,
        "librapidsmpf needs libnvidia-ml.so.1, and without a driver the release says that rapidsmpf is not installed",
        "libcudf does not declare nvidia-nvjitlink, and a lean image cannot import it: the image must have it",
        "CUDF_POLARS__EXECUTOR__SPILL_TO_PINNED_MEMORY=0 turns it on: this value is refused here",
        _UCXX_FIRST,
    ),
    undeclared=("nvidia-nvjitlink",),
    pins={"rapidsmpf": "26.4.*", "ucxx": "0.49.*", "dask-cuda": "26.4.*", "dask": "2026.1.1"},
    words=_WORDS_2512 | {"SPMD": "cudf_polars.experimental.rapidsmpf.spmd.spmd_execution"},
)

# --- From 26.06 on: rapidsmpf only, by engine classes.

_NO_TASKS = Cell(way=None, collects=False, sinks=False, because="RAPIDS 26.06 removed the engine tasks (cudf#22281)")
_RANKS = Cell(way=Way.SPMD, replicated_safe=False, packages=("rapidsmpf", "ucxx"), unverified=_MANY_GPUS)
_ENGINES: Cells = {
    **_CPU,
    TASKS_SINGLE: _NO_TASKS,
    TASKS_DISTRIBUTED: _NO_TASKS,
    RAPIDSMPF_SINGLE: Cell(way=Way.SPMD, packages=("rapidsmpf",), unverified=_ONE_GPU),
    RAPIDSMPF_DISTRIBUTED: _RANKS,
}
_WORDS_2606 = {
    "cluster": "cluster",
    "package": "cudf_polars.streaming",
    "SPMD": "cudf_polars.engine.spmd.SPMDEngine",
    "Dask": "cudf_polars.engine.dask.DaskEngine",
}
_OPTIONS_2606: Mapping[str, Option] = options.by_name(
    options.FALLBACK_MODE,
    options.MAX_ROWS_PER_PARTITION,
    options.TARGET_PARTITION_SIZE_2606,
    options.BROADCAST_LIMIT,
    options.CLIENT_DEVICE_THRESHOLD_2606,
    options.SINK_TO_DIRECTORY_2606,
    options.DYNAMIC_PLANNING_2606,
    options.MAX_IO_THREADS,
    options.SPILL_TO_PINNED_MEMORY_2606,
    options.NUM_PY_EXECUTORS,
)
R26_06 = Release(
    name="26.06",
    version="26.6.0",
    polars=">=1.35,<1.40",
    cuda=(12, 13),
    python=("3.11", "3.14"),
    cells=_ENGINES,
    options=_OPTIONS_2606,
    partitions=_PARTITIONS_2606,
    dask=_BY_DASK_ENGINE,
    sql=_SQL_2606,
    defects=(
        _REPLICATED,
        "libcudf does not declare nvidia-nvjitlink, and a lean image cannot import it (cudf#22784): the image must "
        "have it",
        _WORKER_TTL,
    ),
    undeclared=("nvidia-nvjitlink",),
    pins={"rapidsmpf": "26.6.*", "ucxx": "0.50.*", "dask-cuda": "26.6.*", "dask": "2026.1.1"},
    words=_WORDS_2606,
)
R26_08 = Release(
    name="26.08",
    version="26.8.1",
    polars=">=1.35,<1.43",
    cuda=(12, 13),
    python=("3.11", "3.14"),
    cells=_ENGINES,
    options={**_OPTIONS_2606} | options.by_name(options.DYNAMIC_PLANNING_2608, options.JOIN_FILTER_PUSHDOWN_2608),
    partitions=_PARTITIONS_2606,
    dask=_BY_DASK_ENGINE,
    sql=_SQL_2606,
    defects=(
        _REPLICATED,
        "libcudf does not declare nvidia-cuda-nvrtc, and a lean image cannot import it: the image must have it",
        _WORKER_TTL,
    ),
    undeclared=("nvidia-cuda-nvrtc",),
    pins={"rapidsmpf": "26.8.*", "ucxx": "0.51.*", "dask-cuda": "26.8.*", "dask": "2026.7.1"},
    words=_WORDS_2606,
)
R26_10 = Release(
    name="26.10",
    version="26.10.2",
    polars=">=1.35,<1.45",
    cuda=(12, 13),
    python=("3.11", "3.14"),
    cells={**_ENGINES, RAPIDSMPF_DISTRIBUTED: replace(_RANKS, replicated_safe=True)},
    options={
        name: option
        for name, option in _OPTIONS_2606.items()
        if name not in ("max_io_threads", "spill_to_pinned_memory")
    }
    | options.by_name(
        options.DYNAMIC_PLANNING,
        options.JOIN_FILTER_PUSHDOWN_2610,
        kvikio.MAX_CONCURRENT_IO_TASKS,
        *kvikio.KVIKIO,
    ),
    partitions=_PARTITIONS_2606,
    dask=_BY_DASK_ENGINE,
    sql=_SQL_2610,
    defects=(_WORKER_TTL,),
    pins={"rapidsmpf": "26.10.*", "ucxx": "0.52.*", "dask-cuda": "26.10.*", "dask": "2026.7.1"},
    words=_WORDS_2606,
)

SQL_POLARS = ((1, 44, 2), (1, 45))
"""First version of Polars whose results of SQL on the CPU were compared with DuckDB, and the first later one that was
not. Polars 1.38 gives other values in 76 of 3,522 tests of SQL, 1.42 in 4."""
POLARS_RETRIES = (1, 38)
"""First version of Polars whose scans accept store options other than strings and respect the retry timeout; older ones
give up after ten seconds (tried with 1.31 to 1.44)."""
RELEASES: Mapping[str, Release] = {
    release.name: release for release in (R25_08, R25_10, R25_12, R26_02, R26_04, R26_06, R26_08, R26_10)
}
"""Every release that is known, oldest first."""
