"""Answers questions about the cudf-polars that is installed beside it. Runs in a release's environment, without a GPU.

Each line of the input is a JSON object with the question (`ask`) and its arguments; each line of the output an answer.
Nothing of GpuQuery is imported: what comes out is what the packages say. They need to know the size of the GPU's
memory, so that is given with the question.
"""

import dataclasses
import enum
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import pathlib
import re
import sys
import warnings


def plain(value):
    """Return a value as JSON can hold it: an enumeration's member by its text, a data class by its fields."""
    if isinstance(value, enum.Enum):
        return value.value if isinstance(value.value, str) else value.name
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def configuration(executor_options, engine_options, memory):
    """Return the release's own, validated configuration."""
    import polars as pl
    from cudf_polars.utils import config

    config.get_total_device_memory = lambda: memory
    engine = pl.GPUEngine(executor="streaming", executor_options=executor_options, **engine_options)
    return config.ConfigOptions.from_polars_engine(engine)


def configure(options, env=None, memory=80 * 2**30, engine=None):
    """Return the executor that the release makes of options, or its error."""
    before = dict(os.environ)
    os.environ.update(env or {})
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = configuration(options, engine or {}, memory)
        told = [f"{w.category.__name__}: {w.message}" for w in caught]
        return {"executor": plain(found.executor), "warnings": told}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        os.environ.clear()
        os.environ.update(before)


def metadata(names):
    """Return version, requirements and Python versions of distributions; None for one that is not installed."""
    found = {}
    for name in names:
        try:
            data = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
            continue
        classifiers = data.get_all("Classifier") or []
        found[name] = {
            "version": data["Version"],
            "requires": data.get_all("Requires-Dist") or [],
            "python": data.get("Requires-Python"),
            "pythons": re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers)),
        }
    return found


def fields():
    """Return the names of the executor's options."""
    from cudf_polars.utils.config import StreamingExecutor

    return [f.name for f in dataclasses.fields(StreamingExecutor) if f.init]


def choices():
    """Return for each option whose values are words which ones there are."""
    executor = configuration({}, {}, 80 * 2**30).executor
    values = {f.name: getattr(executor, f.name) for f in dataclasses.fields(executor) if f.init}
    return {name: [plain(m) for m in type(value)] for name, value in values.items() if isinstance(value, enum.Enum)}


def references(names):
    """Return for each option in how many files of the package it is used, beyond where options are defined."""
    root = pathlib.Path(importlib.util.find_spec("cudf_polars").origin).parent
    defined = {root / "utils" / "config.py", root / "engine" / "options.py"}
    texts = [p.read_text() for p in root.rglob("*.py") if p not in defined and "benchmarks" not in p.parts]
    uses = {name: rf"executor(_options)?\.{name}\b|[\"']{name}[\"']" for name in names}
    return {name: sum(bool(re.search(use, text)) for text in texts) for name, use in uses.items()}


def knows(path):
    """Say whether a Python name can be imported."""
    module, _, attribute = path.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), attribute) or bool(importlib.util.find_spec(path))
    except ImportError as error:
        return f"{type(error).__name__}: {error}"


def imports(modules):
    """Import modules in this order and return the first error."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            return f"{module}: {error}"
    return None


def _actors():
    """Return the package of the rapidsmpf engine's actors."""
    for package in ("cudf_polars.experimental.rapidsmpf", "cudf_polars.streaming.actor_graph"):
        if importlib.util.find_spec(package.rpartition(".")[0]) and importlib.util.find_spec(package):
            import ucxx  # noqa: F401  (up to 26.04 rapidsmpf cannot be loaded before it)

            return package
    return None


def sink_actor():
    """Return how the rapidsmpf engine writes: None if it has no actor for it, else whether that passes over copies."""
    package = _actors()
    if package is None:
        return None
    importlib.import_module(f"{package}.core")
    network = importlib.import_module(f"{package}.dispatch").generate_ir_sub_network
    sinks = [kind for kind in network.registry if kind.__name__ == "StreamingSink"]
    if not sinks:
        return None
    source = inspect.getsource(importlib.import_module(f"{package}.io").sink_node)
    return {"passes_over_copies": bool(re.search(r"\bmetadata\.duplicated and comm\.rank\b", source))}


def distributed_guard(options):
    """Say how far the rapidsmpf engine of 25.12 gets with options, before it would need a GPU."""
    from cudf_polars.experimental.rapidsmpf import core

    class ReachedError(Exception):
        pass

    def reached(*args):
        raise ReachedError

    core.lower_ir_graph = reached
    try:
        core.evaluate_logical_plan(None, configuration(options, {}, 80 * 2**30))
    except ReachedError:
        return {"runs": core.new_communicator.__module__}
    except NotImplementedError as error:
        return {"error": str(error)}


def reserved(keys):
    """Return the executor options that the engine classes refuse."""
    from cudf_polars.engine.core import check_reserved_keys

    found = []
    for key in keys:
        try:
            check_reserved_keys({key: None}, {})
        except TypeError:
            found.append(key)
    return found


def parameters(path):
    """Return the names of a class's or function's parameters."""
    module, _, attribute = path.rpartition(".")
    return list(inspect.signature(getattr(importlib.import_module(module), attribute)).parameters)


def loads():
    """Return which CUDA libraries libcudf loads by name when it is imported."""
    path = pathlib.Path(importlib.util.find_spec("libcudf").origin).parent / "load.py"
    return sorted(set(re.findall(r'load_nvidia_dynamic_lib\("(\w+)"\)', path.read_text())))


def cpu():
    """Run a query with Polars' own engine."""
    import polars as pl

    return pl.LazyFrame({"a": [1, 2, 3]}).select(pl.col("a").sum()).collect(engine="streaming").item()


def main():
    """Answer until the input ends."""
    # Libraries may print; only answers go to the real output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = {"answer": globals()[question.pop("ask")](**question)}
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
