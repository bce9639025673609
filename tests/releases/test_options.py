"""Whether each release takes each option as the table says: its name, default, values, and text in the environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.plan import releases
from gpuquery.plan.releases import Cell, Option, OptionKind, Release, Way
from gpuquery.plan.releases.foreign import RESERVED
from gpuquery.plan.releases.values import read
from tests.releases.conftest import Package, about, agree

pytestmark = pytest.mark.releases
RAPIDSMPF = EngineChoice.RAPIDSMPF
MIB = 2**20
GIB = 2**30
MEMORY = (8 * GIB, 24 * GIB, 80 * GIB, 288 * GIB)
PREFIX = "CUDF_POLARS__EXECUTOR__"
WRONG = {
    OptionKind.BYTES: "many",
    OptionKind.COUNT: "many",
    OptionKind.FRACTION: "much",
    OptionKind.BOOLEAN: "perhaps",
    OptionKind.CHOICE: "something",
    OptionKind.MAPPING: "something",
}
Key = tuple[EngineChoice, ClusterChoice]


def base(cell: Cell) -> Mapping[str, Any]:
    """Return the options by which a bare GPUEngine is told to be a cell, for the sake of its checks."""
    return {"cluster": "spmd"} if cell.way is Way.SPMD else cell.options or {}


def places(release: Release, option: Option) -> list[Key]:
    """Return the cells that an option is for and that the release at least knows."""
    return [
        (engine, cluster)
        for (engine, cluster), cell in release.cells.items()
        if engine in option.engines and cluster in option.clusters and cell.collects and engine is not EngineChoice.CPU
    ]


def samples(option: Option) -> list[Any]:
    """Return values that the table says are good, as a user may write them."""
    match option.kind:
        case OptionKind.BYTES:
            return [8 * MIB, "8MiB", int(option.least or 0)]
        case OptionKind.COUNT:
            return [int(option.least or 0), int(option.least or 0) + 3]
        case OptionKind.FRACTION:
            return [0.25, option.most or 1]
        case OptionKind.BOOLEAN:
            return [True, False]
        case OptionKind.CHOICE:
            return list(option.choices)
        case OptionKind.MAPPING:
            inner = [
                {"a" if key == "*" else key: item} for key, field in option.fields.items() for item in samples(field)
            ]
            return inner + ([True, False, None] if option.can_be_off else []) + ([5] if option.bare else [])


def text(value: Any) -> str:
    """Return a value as it would stand in the environment."""
    return value if isinstance(value, str) else json.dumps(value)


def seen(option: Option, value: Any, cluster: ClusterChoice) -> Any:
    """Return how the release shows a value that it took."""
    if option.name == "shuffle_method" and value == "rapidsmpf" and cluster is ClusterChoice.SINGLE:
        return "rapidsmpf-single"
    if option.kind is OptionKind.BYTES and value == 0 and option.least == 0 and option.default is None:
        return ...
    if option.kind is OptionKind.COUNT and value == 0 and option.default is None:
        return ...
    return value


def match(wanted: Any, found: Any) -> bool:
    """Whether what was given is in what the release shows, which may hold more."""
    if wanted is ...:
        return bool(found)
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(key in found and match(item, found[key]) for key, item in wanted.items())
    return isinstance(wanted, bool) is isinstance(found, bool) and wanted == found


def taken(release: Release, row: str, wanted: Any, answer: Mapping[str, Any], name: str) -> None:
    """Fail unless the package took a value and made of it what the table does."""
    assert "executor" in answer, f"{release.name}, {row}: the table takes it, the package says {answer['error']}"
    found = answer["executor"][name]
    assert match(wanted, found), f"{release.name}, {row}: the table makes it {wanted!r}, the package {found!r}"


def test_names(package: Package) -> None:
    """No option is missing in the table, and none is invented."""
    fields = set(package.ask("fields"))
    agree(package.release, "options", table=sorted(package.release.options), package=sorted(fields - set(RESERVED)))


def test_choices(package: Package) -> None:
    """Words that are known but refused to everyone are not offered."""
    found = package.ask("choices")
    for name, option in package.release.options.items():
        if option.kind is OptionKind.CHOICE:
            hidden = {refusal.value for refusal in option.refusals if refusal.value not in option.choices}
            offered = sorted(set(found[name]) - hidden)
            agree(package.release, f"{name}, choices", table=sorted(option.choices), package=offered)


def test_names_within_options(package: Package) -> None:
    on = {name: {} for name, option in package.release.options.items() if option.can_be_off}
    executor = package.configure(on)["executor"]
    for name, option in package.release.options.items():
        if option.kind is OptionKind.MAPPING and "*" not in option.fields:
            agree(package.release, f"{name}, fields", table=sorted(option.fields), package=sorted(executor[name]))
            for key, field in option.fields.items():
                agree(package.release, f"{name}.{key}, default", table=field.default, package=executor[name][key])


def test_defaults(package: Package) -> None:
    for key, cell in package.release.cells.items():
        if not cell.collects or key[0] is EngineChoice.CPU:
            continue
        executor = package.configure(base(cell))["executor"]
        for name, option in package.release.options.items():
            row = f"{name}, default with {key[0]} x {key[1]}"
            if option.can_be_off:
                agree(package.release, row, table=option.default, package=executor[name] is not None)
            elif option.default is not None:
                agree(package.release, row, table=option.default, package=executor[name])


def clamped(part: float, least: int, most: int) -> Callable[[int], int]:
    """Return a part of the GPU's memory within limits."""
    return lambda memory: min(max(int(memory * part), least), most)


def partition(release: Release, key: Key) -> Callable[[int], int]:
    """Return what `target_partition_size` is said to be."""
    if release.name >= "26.06":
        return clamped(0.025, 1, 1_500_000_000)
    engine, cluster = key
    large = cluster is ClusterChoice.SINGLE and (engine is EngineChoice.TASKS or release.name < "26.04")
    return clamped(1 / 16 if large else 1 / 40, 1_000_000_000, 10_000_000_000)


def broadcast(release: Release, key: Key) -> Callable[[int], int]:
    """Return what `broadcast_join_limit` is said to be."""
    engine, cluster = key
    if engine is RAPIDSMPF and release.name == "26.04":
        return lambda memory: min(5, max(1, memory // 8_000_000_000))
    return lambda memory: 32 if cluster is ClusterChoice.SINGLE else 2


def shuffle(release: Release, key: Key) -> Callable[[int], str]:
    """Return what `shuffle_method` is said to be."""
    engine, cluster = key
    if cluster is ClusterChoice.DISTRIBUTED:
        return lambda memory: "rapidsmpf"
    return lambda memory: "rapidsmpf-single" if engine is RAPIDSMPF else "tasks"


DEPENDENT: Mapping[str, Callable[[Release, Key], Callable[[int], Any]]] = {
    "target_partition_size": partition,
    "broadcast_join_limit": broadcast,
    "broadcast_limit": lambda release, key: clamped(0.15, 1, 16_000_000_000),
    "shuffle_method": shuffle,
    "sink_to_directory": lambda release, key: lambda memory: key[1] is ClusterChoice.DISTRIBUTED,
    "rapidsmpf_py_executor_max_workers": lambda release, key: lambda memory: None,
    "kvikio_nthreads": lambda release, key: lambda memory: None,
    "kvikio_task_size": lambda release, key: lambda memory: 16 * MIB,
}
"""Defaults that depend on the GPU or on other options, as `about` tells them in words."""


def test_defaults_that_depend_on_the_gpu_or_on_other_options(package: Package) -> None:
    release = package.release
    for key, cell in release.cells.items():
        if not cell.collects or key[0] is EngineChoice.CPU:
            continue
        for memory in MEMORY:
            executor = package.configure(base(cell), memory=memory)["executor"]
            for name, option in release.options.items():
                if option.default is None and option.kind is not OptionKind.MAPPING:
                    row = f"{name}, default with {key[0]} x {key[1]} and {memory // GIB} GiB"
                    agree(release, row, table=DEPENDENT[name](release, key)(memory), package=executor[name])


@about("26.10")
def test_defaults_of_the_other_way_to_read(package: Package) -> None:
    executor = package.configure({"kvikio_remote_io_backend": "EASY_THREADPOOL"})["executor"]
    agree(package.release, "kvikio_task_size, default", table=64 * MIB, package=executor["kvikio_task_size"])
    agree(package.release, "kvikio_nthreads, default", table=256, package=executor["kvikio_nthreads"])


def test_good_values_are_taken_in_every_cell_that_an_option_is_for(package: Package) -> None:
    release = package.release
    for name, option in release.options.items():
        for engine, cluster in places(release, option):
            for value in samples(option):
                extra = {"kvikio_bounce_buffer_bytes": 64 * MIB} if name == "kvikio_task_size" else {}
                extra = {"kvikio_task_size": 1} if name == "kvikio_bounce_buffer_bytes" else extra
                row = f"{name}: {value!r} with {engine} x {cluster}"
                if option.instead:
                    good: Mapping[str, Any] = {name: read(option, value)}
                else:
                    good, problems = releases.check_options(release, engine, cluster, {name: value} | extra)
                    if name not in good:
                        assert any(refusal.value == value for refusal in option.refusals), f"{row}: {problems}"
                        continue
                answer = package.configure({**base(release.cells[engine, cluster]), **good})
                taken(release, row, seen(option, good[name], cluster), answer, name)


def test_whether_wrong_types_are_refused(package: Package) -> None:
    release = package.release
    for name, option in release.options.items():
        answer = package.configure({name: WRONG[option.kind]})
        agree(release, f"{name}, unchecked", table=option.unchecked, package="executor" in answer)
        assert (
            not option.engines
            or releases.check_options(release, EngineChoice.AUTO, ClusterChoice.AUTO, {name: WRONG[option.kind]})[1]
        ), f"{release.name}, {name}: a wrong type is not refused here"
        for key, field in option.fields.items():
            if key != "*":
                answer = package.configure({name: {key: WRONG[field.kind]}})
                agree(release, f"{name}.{key}, unchecked", table=field.unchecked, package="executor" in answer)


def test_the_environment(package: Package) -> None:
    """What the environment sets is what the release itself reads there."""
    release = package.release
    for name, option in release.options.items():
        for value in samples(option):
            env = variables(option, value)
            if option.instead or any("MiB" in item for item in env.values()) or not env:
                continue
            for engine, cluster in places(release, option):
                row = f"{env} with {engine} x {cluster}"
                good, problems = releases.environment_options(release, env, engine=engine, cluster=cluster)
                if problems:
                    trap = option.any_text_is_true and value is False
                    refused = any(refusal.value == value for refusal in option.refusals)
                    assert trap or refused, f"{release.name}, {row}: {problems}"
                    continue
                extra = {"kvikio_bounce_buffer_bytes": 64 * MIB} if name == "kvikio_task_size" else {}
                extra = {"kvikio_task_size": 1} if name == "kvikio_bounce_buffer_bytes" else extra
                answer = package.configure({**base(release.cells[engine, cluster]), **extra}, env=env)
                taken(release, row, seen(option, good[name], cluster), answer, name)


def variables(option: Option, value: Any) -> dict[str, str]:
    """Return the variables that set a value."""
    variable = PREFIX + option.name.upper()
    if option.kind is not OptionKind.MAPPING or option.bare or "*" in option.fields:
        return {variable: text(value)}
    if not isinstance(value, Mapping):
        return {variable: "1" if value else "0"}
    on = {variable: "1"} if option.can_be_off else {}
    return on | {f"{variable}__{key.upper()}": text(item) for key, item in value.items() if item is not None}


def test_whether_any_text_is_true(package: Package) -> None:
    for name, option in package.release.options.items():
        if option.kind is OptionKind.BOOLEAN:
            answer = package.configure({}, env={PREFIX + name.upper(): "0"})
            found = answer["executor"][name] if "executor" in answer else answer["error"]
            agree(package.release, f"{name}, any_text_is_true", table=option.any_text_is_true, package=found is True)


def test_whether_options_are_used_at_all(package: Package) -> None:
    uses = package.ask("references", names=list(package.release.options))
    for name, option in package.release.options.items():
        agree(package.release, f"{name}, instead", table=bool(option.instead), package=uses[name] == 0)
