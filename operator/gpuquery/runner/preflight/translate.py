"""Can this release's GPU engine run the plan, and which parts of it on one partition only? Asked without a GPU.

cudf-polars translates a plan into its own and lowers that to partitions before it touches a GPU, so both are done here
with the very options of the attempt. Two things are supplied that it would otherwise ask a GPU for: the size of the
device's memory, and the footers of parquet files (`max_footer_samples` 0 makes it do without).

Nothing that cudf-polars does here is public, and it changes with every release. So a refusal counts only where it comes
from the same code as on a GPU; whatever else goes wrong is told as a part that could not be checked.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.api.choices import ClusterChoice
from gpuquery.api.reasons import Failure
from gpuquery.plan.releases import Way, cell_of, safe
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.preflight import words
from gpuquery.runner.preflight.lower import Lowered, Sizes, lower
from gpuquery.runner.preflight.watch import Notes, needs_gpu, translator
from gpuquery.runner.query.fingerprint import own_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import Plan

DEVICE_BYTES = 80 << 30
"""Memory of a GPU where the plan does not say it."""
MAX_SHOWN = 8
"""Refusals that a message lists."""
_WAYS = {Way.SPMD: "spmd", Way.DASK: "dask"}
_NOWHERE = "/nonexistent/gpuquery-preflight/out"
"""Where the plan to be translated writes; nothing is ever written there."""


@dataclass(frozen=True)
class Translation:
    """What was found out."""

    unsupported: tuple[str, ...] = ()
    """Parts that the GPU engine cannot run."""
    fallbacks: tuple[str, ...] = ()
    """Parts that run on one partition whatever the number of GPUs."""
    unchecked: tuple[str, ...] = ()
    """Parts of which only a GPU can tell, and why."""
    one_partition: bool = False
    """Whether the result is on one partition."""


def load() -> Any:
    """Import cudf-polars, which takes a second: worth to be begun in another thread."""
    return importlib.import_module("cudf_polars")


def check(plan: Plan, frame: pl.LazyFrame, sizes: Sizes) -> Translation:
    """Translate and lower; raises JobError(UnsupportedQuery) that names every refusal, or InvalidCombination.

    `plan.release` is what is installed.
    """
    _refuse_own_tables(plan, frame)
    with _device(plan.gpu_memory or DEVICE_BYTES):
        found = _translated(plan, frame, sizes)
    if found.unsupported:
        raise JobError(Failure.UNSUPPORTED_QUERY, _refusal(plan, found.unsupported))
    return found


def _refusal(plan: Plan, parts: Sequence[str]) -> str:
    count = "a part" if len(parts) == 1 else f"{len(parts)} parts"
    shown = "; ".join(parts[:MAX_SHOWN]) + ("; ..." if len(parts) > MAX_SHOWN else "")
    return (
        f"the GPU engine of RAPIDS {plan.release} cannot run {count} of the query: {shown}. Write it another way, "
        "choose another runtime.release, or engine: cpu"
    )


def _translated(plan: Plan, frame: pl.LazyFrame, sizes: Sizes) -> Translation:
    engine = _engine(plan)
    cudf_polars = load()
    dsl = importlib.import_module("cudf_polars.dsl.expr")
    data_type = importlib.import_module("cudf_polars.containers").DataType
    # The result is written by the engine, so a type that it cannot write counts too.
    visitor: Any = frame.sink_parquet(_NOWHERE, lazy=True)._ldf.visit()
    hive = [item.name for item in plan.inputs if item.hive_partitioned is not False]
    notes = Notes(visitor, _starts(plan.inputs), hive)
    try:
        watched = translator(cudf_polars.Translator, dsl.ErrorExpr, data_type)(visitor, engine, notes)
    except ImportError as exc:
        return Translation(unchecked=(f"the plan was not translated: {words.shortened(str(exc), 200)}",))
    except (TypeError, ValueError) as exc:
        return _options_refused(plan, exc)
    try:
        ir = watched.translate_ir()
    except NotImplementedError as exc:
        return Translation((words.said(exc),))
    except Exception as exc:
        return Translation(unchecked=(f"the plan was not translated: {words.shortened(f'{exc!r}', 200)}",))
    refused = notes.findings
    unsupported = tuple(str(f) for f in refused if not f.needs_gpu)
    unchecked = tuple(str(f) for f in refused if f.needs_gpu)
    if unsupported or unchecked:
        return Translation(unsupported, (), unchecked)
    return _lowered(plan, ir, watched.config_options, sizes)


def _options_refused(plan: Plan, exc: Exception) -> Translation:
    text = str(exc)
    if needs_gpu(exc) or "requires rapidsmpf" in text:
        return Translation(unchecked=(f"the plan was not translated: {words.shortened(text, 200)}",))
    shown = ", ".join(f"{name}={value!r}" for name, value in sorted(plan.executor_options.items())) or "none"
    raise JobError(
        Failure.INVALID_COMBINATION,
        f"cudf-polars of RAPIDS {plan.release} refuses the engine's options (executorOptions: {shown}; variables "
        f"CUDF_POLARS__EXECUTOR__* count too): {words.shortened(text, 400)}",
    )


def _engine(plan: Plan) -> Any:
    """Make the engine's configuration as the attempt will, but for footers."""
    return pl.GPUEngine(
        executor="streaming",
        raise_on_fail=True,
        executor_options=options(plan),
        parquet_options={"max_footer_samples": 0},
    )


def options(plan: Plan) -> dict[str, Any]:
    """Executor options of the plan, and those by which its release is told to run its engine and cluster."""
    cell = cell_of(plan.release, plan.engine, plan.cluster)
    merged: dict[str, Any] = dict(cell.options or {}) if cell else {}
    way = _way(plan)
    if cell and cell.options is None and way in _WAYS:
        merged["cluster"] = _WAYS[way]
    return {**merged, **plan.executor_options}


def _way(plan: Plan) -> Way | None:
    """How it is driven: a Dask cluster in the plan stands in the place of a set of ranks."""
    cell = cell_of(plan.release, plan.engine, plan.cluster)
    return Way.DASK if plan.dask is not None and cell and cell.way is Way.SPMD else cell.way if cell else None


def _starts(inputs: Sequence[Input]) -> dict[str, str]:
    """Names of inputs by the part of their URI before a glob; the longest first, so that folders in folders work."""
    starts = {_plain(re.split(r"[*?\[{]", uri)[0]): item.name for item in inputs for uri in item.places}
    return {**{f"file://{start}": name for start, name in starts.items() if start.startswith("/")}, **starts}


def _plain(uri: str) -> str:
    return uri.removeprefix("file://")


def _lowered(plan: Plan, ir: Any, config: Any, sizes: Sizes) -> Translation:
    mode = str(getattr(config.executor, "fallback_mode", "warn")).rpartition(".")[2].lower()
    try:
        found = lower(ir, config, sizes, max(1, plan.replicas * plan.gpus))
    except NotImplementedError as exc:
        return Translation((f"the plan in partitions: {words.said(exc)}",))
    except Exception as exc:
        why = "this machine has no GPU" if needs_gpu(exc) else f"{type(exc).__name__}: {exc}"
        return Translation(unchecked=(f"which parts run on one partition: {words.shortened(why, 200)}",))
    if mode == "raise" and found.fallbacks:
        tail = "runs on one partition, which executorOptions.fallback_mode: raise forbids"
        return Translation(tuple(f"{part}: {tail}" for part in found.fallbacks))
    _refuse_doubled(plan, found)
    return Translation(fallbacks=found.fallbacks, one_partition=found.partitions <= 1)


def _refuse_own_tables(plan: Plan, frame: pl.LazyFrame) -> None:
    """Refuse tables that the query makes itself: cudf-polars has every rank read the whole of them (`cluster != "spmd"`
    in streaming/actor_graph/io.py, 26.06 to 26.10), so that their rows would come out once for each GPU."""
    gpus = plan.replicas * plan.gpus
    if _way(plan) is not Way.SPMD or gpus < 2:
        return
    if tables := own_tables(frame):
        raise JobError(
            Failure.UNSUPPORTED_QUERY,
            f"the query makes a {tables[0]} itself (VALUES, a LazyFrame of data, or a collect() inside of it). Each of "
            f"{gpus} ranks would read all its rows, so that they come out {gpus} times: write it as parquet and "
            "declare it in inputs, or use cluster: single",
        )


def _refuse_doubled(plan: Plan, found: Lowered) -> None:
    """Refuse rows that would come out once for each GPU: what is on one partition may be held in full by every rank."""
    cell = cell_of(plan.release, plan.engine, plan.cluster)
    several = plan.cluster == ClusterChoice.DISTRIBUTED and plan.replicas * plan.gpus > 1
    if cell is None or cell.replicated_safe or not several or found.partitions > 1:
        return
    if not found.sized:
        raise JobError(
            Failure.STORAGE_UNAVAILABLE,
            f"the sizes of the inputs' files could not be asked for, and with them {plan.engine} on several GPUs of "
            f"RAPIDS {plan.release} may write rows once for each GPU (cudf#23525)",
        )
    others = " or ".join(safe(plan.engine, plan.cluster))
    raise JobError(
        Failure.INVALID_COMBINATION,
        f"the result is on one partition, and {plan.engine} on several GPUs of RAPIDS {plan.release} writes rows that "
        f"every GPU holds in full once for each GPU (cudf#23525): use runtime.release {others}, or "
        "cluster: single",
    )


@contextlib.contextmanager
def _device(size: int) -> Iterator[None]:
    """Answer the question for the device's memory where there is no device."""
    config: Any = importlib.import_module("cudf_polars.utils.config")
    asked = config.get_total_device_memory

    def answer() -> int | None:
        try:
            return int(asked()) if asked() is not None else None
        except Exception:
            return size

    config.get_total_device_memory = answer
    try:
        yield
    finally:
        config.get_total_device_memory = asked
