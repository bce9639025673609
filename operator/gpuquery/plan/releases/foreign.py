"""Names that users may expect among the executor's options, and what to use instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENGINE = "is chosen by spec.engine: set engine"
_CLUSTER = "is chosen by spec.cluster: set cluster"
_RUNNER = "belongs to the runner: leave it out"

RESERVED: Mapping[str, str] = {
    "runtime": _ENGINE,
    "engine": _ENGINE,
    "cluster": _CLUSTER,
    "scheduler": _CLUSTER,
    "name": _RUNNER,
    "executor": "is always streaming: leave it out",
    "raise_on_fail": "is always true, so that no query runs on the CPU unseen: leave it out",
    "device": "is chosen by the device plugin: leave it out",
    "spmd": _RUNNER,
    "spmd_context": _RUNNER,
    "ray_context": _RUNNER,
    "dask_context": _RUNNER,
    "quent_context": _RUNNER,
    "allow_gpu_sharing": _RUNNER,
    "hardware_binding": _RUNNER,
    "memory_resource": _RUNNER,
    "min_device_size": "is measured by the runner: leave it out, or set target_partition_size",
}
"""Options that the spec or the runner sets, with the way out."""

_IN_ENV = "is no option of the executor: set {} in template.spec.env"
ELSEWHERE: Mapping[str, str] = {
    "parquet_options": _IN_ENV.format("CUDF_POLARS__PARQUET_OPTIONS__<NAME>"),
    "memory_resource_config": _IN_ENV.format("CUDF_POLARS__MEMORY_RESOURCE_CONFIG__QUALNAME and __OPTIONS"),
    "cuda_stream_policy": _IN_ENV.format("CUDF_POLARS__CUDA_STREAM_POLICY (25.12 to 26.06)"),
} | {
    name: _IN_ENV.format(f"RAPIDSMPF_{name.upper()}")
    for name in (
        "num_streaming_threads",
        "num_streams",
        "log",
        "statistics",
        "memory_reserve_timeout",
        "allow_overbooking_by_default",
        "pinned_memory",
        "pinned_initial_pool_size",
        "pinned_max_pool_size",
        "spill_device_limit",
        "periodic_spill_check",
        "unbounded_file_read_cache",
        "ucxx_progress_mode",
    )
}
"""Settings of other parts of RAPIDS, and where to set them."""

SUCCESSORS: tuple[tuple[str, ...], ...] = (
    ("cardinality_factor", "unique_fraction"),
    ("broadcast_join_limit", "broadcast_limit"),
    ("max_io_threads", "max_concurrent_io_tasks"),
    ("rapidsmpf_py_executor_max_workers", "num_py_executors"),
)
"""Different names for nearly the same option, oldest first."""
