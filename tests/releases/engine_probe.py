"""Answers questions about GpuQuery's GPU engines inside a release's packages, for `test_rapidsmpf.py`; without a GPU.

Each line of the input is a JSON object with the question (`ask`) and its arguments; each line of the output an answer.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.runner.engines import replicated
from gpuquery.runner.engines.rapidsmpf_options import settings
from gpuquery.runner.failures.native import classify_engine
from tests.releases.probe import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def taken(options: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    """Return where the plan's options and the environment end up: in the executor, the engine, and rapidsmpf."""
    before = dict(os.environ)
    os.environ.update(env)
    config: Any = importlib.import_module("cudf_polars.utils.config")
    asked = config.get_total_device_memory
    try:
        found = settings(options)
        core = importlib.import_module("cudf_polars.engine.core")
        core.check_reserved_keys(dict(found.executor), dict(found.engine))
        told = dict(found.executor)
        kvikio = {}
        if hasattr(config, "resolve_kvikio_executor_options"):
            told = config.resolve_kvikio_executor_options(told)
            kvikio = {name: type(value).__name__ for name, value in told.items() if isinstance(value, enum.Enum)}
        config.get_total_device_memory = lambda: 80 << 30
        kept = {n: v for n, v in found.engine.items() if n not in ("allow_gpu_sharing", "hardware_binding")}
        engine = pl.GPUEngine(executor="streaming", executor_options={**told, "cluster": "spmd"}, **kept)
        made = config.ConfigOptions.from_polars_engine(engine)
        return {
            "executor": plain(made.executor),
            "enums": kvikio,
            "raise_on_fail": found.engine["raise_on_fail"],
            "memory_resource": getattr(found.engine.get("memory_resource_config"), "qualname", None),
            "sharing": found.engine.get("allow_gpu_sharing"),
            "rapidsmpf": found.rapidsmpf.get_strings(),
        }
    finally:
        config.get_total_device_memory = asked
        os.environ.clear()
        os.environ.update(before)


def metadata() -> dict[str, Any]:
    """Return who reads metadata in the module of the sink's actor, and how the actor uses it."""
    module = importlib.import_module(replicated.MODULE)
    source = inspect.getsource(module)
    callers = re.findall(r"await recv_metadata\(", source)
    inside = inspect.getsource(module.sink_node)
    first_write = inside.find("Sink.do_evaluate")
    return {
        "calls": len(callers),
        "in_sink_node": inside.count("await recv_metadata("),
        "before_writing": 0 <= inside.find("await recv_metadata(") < first_write,
        "skips": bool(re.search(r"\bmetadata\.duplicated and comm\.rank\b", inside)),
        "imported": replicated.FUNCTION in vars(module),
    }


def heard() -> Any:
    """Let the module's own name for the function be called with the library's own metadata; return what is heard."""
    import asyncio

    module: Any = importlib.import_module(replicated.MODULE)
    made: Any = importlib.import_module("cudf_streaming.channel_metadata") if _has("cudf_streaming") else None
    kind = made.ChannelMetadata if made else module.ChannelMetadata

    async def usual(channel: Any, context: Any) -> Any:
        return channel

    module.recv_metadata = usual
    ear = replicated.Ear()
    with ear.listening():
        asyncio.run(module.recv_metadata(kind(local_count=1, duplicated=True), None))
    return ear.duplicated


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _frame(folder: str) -> pl.LazyFrame:
    pl.DataFrame({"a": [1, 2]}).write_parquet(f"{folder}/a.parquet")
    return pl.scan_parquet(f"{folder}/a.parquet")


def _gpu(**options: Any) -> pl.GPUEngine:
    return pl.GPUEngine(raise_on_fail=True, **options)


def _raise_spmd(folder: str) -> Any:
    importlib.import_module("cudf_polars.engine.spmd").SPMDEngine()


def _raise_streaming(folder: str) -> Any:
    """Into a folder that is not there, as the engine writes: Polars itself must not mind."""
    _frame(folder).group_by("a").len().sink_parquet(Path(folder, "result"), engine=_gpu(executor="streaming"))


def _raise_in_memory(folder: str) -> Any:
    _frame(folder).collect(engine=_gpu(executor="in-memory"))


def _raise_unsupported(folder: str) -> Any:
    _frame(folder).select(pl.col("a").ewm_mean(alpha=0.5)).collect(engine=_gpu(executor="in-memory"))


def _raise_rmm(folder: str) -> Any:
    importlib.import_module("rmm").DeviceBuffer(size=10)


def _raise_nvml(folder: str) -> Any:
    importlib.import_module("pynvml").nvmlInit()


RAISES: Mapping[str, Callable[[str], Any]] = {
    name.removeprefix("_raise_"): function for name, function in list(globals().items()) if name.startswith("_raise_")
}


def raised(how: str) -> dict[str, Any]:
    """Return the class that a real exception gets."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            RAISES[how](folder)
        except BaseException as exc:
            error = classify_engine(exc)
            return {
                "type": type(exc).__name__,
                "text": str(exc)[:300],
                "failure": error.failure.value if error else None,
                "message": error.message if error else "",
            }
    return {"type": "nothing"}


def ucx_errors() -> dict[str, str | None]:
    """Return the class that each exception of UCX gets, raised without a text of its own."""
    kinds = vars(importlib.import_module("ucxx.exceptions"))
    found = {}
    for name, kind in kinds.items():
        if name.startswith("UCX") and isinstance(kind, type) and issubclass(kind, Exception):
            error = classify_engine(kind(""))
            found[name] = error.failure.value if error else None
    return found


def counters() -> dict[str, Any]:
    """Return whether the library's counters are read, from one that is made without a GPU."""
    from gpuquery.runner.engines import telemetry

    notes: dict[str, Any] = {}

    class Context:
        def statistics(self) -> Any:
            config = importlib.import_module("rapidsmpf.config")
            made = importlib.import_module("rapidsmpf.statistics").Statistics.from_options(
                config.Options({"statistics": "true"})
            )
            made.add_stat("copy-device-to-host-bytes", 5)
            made.add_stat("copy-device-to-pinned_host-bytes", 2)
            made.add_stat("copy-host-to-device-bytes", 100)
            return made

    class Ranks:
        index, size = 0, 1

        def gate(self, name: str, value: Any = None, *, seconds: float) -> Any:
            return [value]

        def note(self, **facts: Any) -> None:
            notes.update(facts)

        def advance(self) -> None:
            """Nobody asks."""

    telemetry.note_statistics(Ranks(), Context())
    return notes


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = {"answer": globals()[question.pop("ask")](**question)}
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer, default=str), file=answers, flush=True)


if __name__ == "__main__":
    main()
