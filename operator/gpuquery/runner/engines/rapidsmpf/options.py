"""From the plan's options to what the release's engine class takes: options of the executor, the engine and rapidsmpf.

The plan's `executor_options` are complete and checked by the operator's table, under the release's own names, with what
`CUDF_POLARS__EXECUTOR__*` sets. The rest is read from the pod's environment by the release's own class of options
(`StreamingOptions`, 26.06 and later): `RAPIDSMPF_*` (spilling, pinned memory, threads, streams),
`CUDF_POLARS__HARDWARE_BINDING` and `CUDF_POLARS__ALLOW_GPU_SHARING`; and what the release reads in `GPUEngine` but not
in its engine classes, by this module: `CUDF_POLARS__MEMORY_RESOURCE_CONFIG__*`.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.runner.engines.gpu import executor

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEMORY_RESOURCE = "CUDF_POLARS__MEMORY_RESOURCE_CONFIG__QUALNAME"


@dataclass(frozen=True)
class Settings:
    """Arguments of the engine class."""

    executor: Mapping[str, Any]
    """`executor_options`: how the query is planned and run."""
    engine: Mapping[str, Any]
    """`engine_options`: memory resource, binding to the hardware, whether the CPU may take over (never)."""
    rapidsmpf: Any
    """`rapidsmpf_options`, a `rapidsmpf.config.Options`; the communicator is made with the same."""


def settings(options: Mapping[str, Any]) -> Settings:
    """Return the arguments of the release's engine class for the plan's executor options. Needs no GPU."""
    streaming = importlib.import_module("cudf_polars.engine.options").StreamingOptions(raise_on_fail=True)
    engine = dict(streaming.to_engine_options())
    if os.environ.get(_MEMORY_RESOURCE):
        config = importlib.import_module("cudf_polars.utils.config")
        engine.setdefault("memory_resource_config", config.MemoryResourceConfig())
    rapidsmpf = streaming.to_rapidsmpf_options()
    environment = importlib.import_module("rapidsmpf.config").get_environment_variables()
    rapidsmpf.insert_if_absent({name.lower(): text for name, text in environment.items()})
    # Counters of bytes that were moved out of the GPU; the library counts nothing unless it is told to.
    rapidsmpf.insert_if_absent({"statistics": "true"})
    return Settings(executor(options), engine, rapidsmpf)
