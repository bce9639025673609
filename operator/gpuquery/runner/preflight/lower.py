"""Which parts of a plan run on one partition whatever the number of GPUs? Asked by lowering it to partitions.

cudf-polars warns of such a part in its own words and without saying which one it is; the node is found on the stack of
the warning. How many partitions a table has, it would learn from footers on a GPU; here the files' sizes say it.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.runner.preflight import words

if TYPE_CHECKING:
    from types import FrameType

MAX_SHOWN = 8
"""Expressions of one part that are named."""
LEAST_GROWTH = 4
"""How much larger rows are taken to be in memory than in a compressed file, so that a table near the size of one
partition counts as several."""

COUNTERS = ("fast_count", "_get_parquet_row_count_from_metadata")
"""What a scan counts rows with: up to 26.06, and in 26.08."""

Sizes = Callable[[Sequence[str]], int | None]
"""Gives the bytes of files together, as they lie in the store; None if they cannot be told."""


@dataclass(frozen=True)
class Lowered:
    """What lowering has shown."""

    fallbacks: tuple[str, ...]
    """Parts that run on one partition."""
    partitions: int
    """Partitions of the result."""
    sized: bool = True
    """Whether the sizes of all files were known: a table of unknown size counts as one partition."""


def lower(ir: Any, config: Any, sizes: Sizes, ranks: int) -> Lowered:
    """Lower a translated plan; raises what cudf-polars raises. Sets `fallback_mode` of the configuration to `warn`."""
    heard = _Fallbacks()
    run, stats, package = _functions(config, ranks)
    mode = config.executor.fallback_mode
    object.__setattr__(config.executor, "fallback_mode", type(mode)("warn"))
    unknown: list[str] = []

    def noted(paths: Sequence[str]) -> int:
        size = sizes(paths)
        if size is None:
            unknown.extend(paths[:1])
        return size or 0

    with _partitions(package, noted, int(config.executor.target_partition_size)), heard.listening():
        made = run(ir, config, *stats(ir, config))
    root, partitions = (made.lowered, made.partition_info) if hasattr(made, "lowered") else made[:2]
    return Lowered(heard.parts, int(partitions[root].count), not unknown)


def _functions(config: Any, ranks: int) -> tuple[Callable[..., Any], Callable[..., tuple[Any, ...]], str]:
    """The release's own functions: lowering, what it wants to know beforehand, and the package that they are in."""
    try:
        parallel = importlib.import_module("cudf_polars.streaming.parallel")
        package = "cudf_polars.streaming"
    except ModuleNotFoundError:
        package = "cudf_polars.experimental"
        inside = (
            ".rapidsmpf.core" if str(getattr(config.executor, "runtime", "")).endswith("rapidsmpf") else ".parallel"
        )
        parallel = importlib.import_module(package + inside)
        return parallel.lower_ir_graph, lambda *_: (), package
    statistics = importlib.import_module(package + ".statistics")

    def run(ir: Any, config: Any, stats: Any) -> Any:
        return parallel.lower_ir_graph(ir, config, stats, **_taken(parallel.lower_ir_graph, rank=0, nranks=ranks))

    def stats(ir: Any, config: Any) -> tuple[Any, ...]:
        with ThreadPoolExecutor(2) as threads:
            return (
                statistics.collect_statistics(ir, config, **_taken(statistics.collect_statistics, executor=threads)),
            )

    return run, stats, package


def _taken(function: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    """Those of the arguments that a function of this release takes."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if name in known}


@contextlib.contextmanager
def _partitions(package: str, sizes: Callable[[Sequence[str]], int], target: int) -> Iterator[None]:
    """Let scans count as partitions by the size of their files: without footers, cudf-polars would count files.

    For a `count(*)` it reads the footers nevertheless, through the GPU's driver; the number is of no meaning here.
    """
    dispatch = importlib.import_module(package + ".dispatch").lower_ir_node
    info = importlib.import_module(package + ".base").PartitionInfo
    scan = importlib.import_module("cudf_polars.dsl.ir").Scan
    usual = dispatch.dispatch(scan)

    def counted(ir: Any, rec: Any) -> Any:
        node, partitions = usual(ir, rec)
        size = sizes([str(path) for path in ir.paths])
        partitions[node] = info(count=1 if size * LEAST_GROWTH < target else max(2, len(ir.paths)))
        return node, partitions

    dispatch.register(scan)(counted)
    counters = {name: vars(scan)[name] for name in COUNTERS if name in vars(scan)}
    for name in counters:
        setattr(scan, name, staticmethod(lambda *_, **__: 0))
    try:
        yield
    finally:
        dispatch.register(scan)(usual)
        for name, usual_counter in counters.items():
            setattr(scan, name, usual_counter)


class _Fallbacks:
    """Hears the warnings of lowering, and looks up the stack for the node that each is about."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the plan, each once."""
        return tuple(dict.fromkeys(self._parts))

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = self._heard
            yield

    def _heard(self, message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any) -> None:
        if "cudf_polars" not in filename:
            return
        text = str(message).strip().splitlines()[0]
        node = _node_above(sys._getframe(1))
        self._parts.append(fallback(node, text) if node is not None else words.shortened(text, 160))


def _node_above(frame: FrameType | None) -> Any:
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith("cudf_polars") and "ir" in frame.f_locals:
            return frame.f_locals["ir"]
        frame = frame.f_back
    return None


def fallback(node: Any, text: str) -> str:
    """Say which part of the plan falls back: the expressions of `node` that need all rows, else what was warned of."""
    found = []
    for attribute in ("exprs", "columns", "agg_requests", "by"):
        for item in getattr(node, attribute, None) or ():
            value = getattr(item, "value", None)
            if value is not None and not _pointwise(value):
                name = words.shown(str(item.name))
                text = words.gpu_expression(value)
                found.append(f'"{name}" = {text}' if name else text)
    why = ", ".join(found[:MAX_SHOWN]) or words.why_one_partition(text)
    return f"{words.step(node)}: {why}" if why else words.step(node)


def _pointwise(value: Any) -> bool:
    return bool(getattr(value, "is_pointwise", True)) and all(_pointwise(c) for c in getattr(value, "children", ()))
