"""The options `CUDF_POLARS__EXECUTOR__<FIELD>` in the pods' environment.

A release reads them itself, but silently ignores unknown ones; here they are checked like `executorOptions`.
`...__<FIELD>__<KEY>` sets a value within an option. `environment_choice` reads the variables that choose engine and
cluster (`RUNTIME`, formerly `ENGINE`; `CLUSTER`, formerly `SCHEDULER`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.plan.releases.check import allowed, belongs, listed, problem, unknown
from gpuquery.plan.releases.foreign import RESERVED
from gpuquery.plan.releases.model import Option, OptionKind, Release
from gpuquery.plan.releases.table import RELEASES
from gpuquery.plan.releases.values import OptionError, read_text, shown

EXECUTOR = "CUDF_POLARS__EXECUTOR"
PREFIX = f"{EXECUTOR}__"
WHERE = "template.spec.env"
_ENGINES = {
    cell.options["runtime"]: engine
    for release in RELEASES.values()
    for (engine, _), cell in release.cells.items()
    if cell.options and "runtime" in cell.options
}
_CLUSTERS = {
    "single": ClusterChoice.SINGLE,
    "default_singleton": ClusterChoice.SINGLE,
    "distributed": ClusterChoice.DISTRIBUTED,
    "spmd": ClusterChoice.DISTRIBUTED,
    "dask": ClusterChoice.DISTRIBUTED,
}
_SCHEDULERS = {"synchronous": ClusterChoice.SINGLE, "distributed": ClusterChoice.DISTRIBUTED}
_CHOICES: Mapping[str, Mapping[str, EngineChoice | ClusterChoice]] = {
    "RUNTIME": _ENGINES,
    "ENGINE": _ENGINES,
    "CLUSTER": _CLUSTERS,
    "SCHEDULER": _SCHEDULERS,
}


def environment_choice(
    env: Mapping[str, str], where: str = WHERE
) -> tuple[EngineChoice, ClusterChoice, tuple[str, ...]]:
    """Return the engine and the cluster of the environment, `auto` by default, and the errors."""
    problems: list[str] = []
    chosen: dict[str, EngineChoice | ClusterChoice] = {}
    for field, words in _CHOICES.items():
        text = env.get(PREFIX + field)
        if text is None:
            continue
        if text in words:
            chosen[field] = words[text]
        else:
            problems.append(f"{where}.{PREFIX}{field}: {shown(text)} is not known: use {listed(words)}")
    for first, second in (("RUNTIME", "ENGINE"), ("CLUSTER", "SCHEDULER")):
        if first in chosen and chosen.get(second, chosen[first]) != chosen[first]:
            problems.append(
                f"{where}.{PREFIX}{second}: {shown(env[PREFIX + second])} contradicts {PREFIX}{first}, which is "
                f"{shown(env[PREFIX + first])}: keep one of them"
            )
    engine = chosen.get("RUNTIME", chosen.get("ENGINE", EngineChoice.AUTO))
    cluster = chosen.get("CLUSTER", chosen.get("SCHEDULER", ClusterChoice.AUTO))
    return EngineChoice(engine), ClusterChoice(cluster), tuple(problems)


def environment_options(
    release: Release,
    env: Mapping[str, str],
    where: str = WHERE,
    *,
    engine: EngineChoice = EngineChoice.AUTO,
    cluster: ClusterChoice = ClusterChoice.AUTO,
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return the valid executor options of the environment, and the errors of the others.

    With engine or cluster `auto`, checks that depend on them are skipped.
    """
    good: dict[str, Any] = {}
    problems: list[str] = []
    executor = env.get(EXECUTOR, "streaming")
    if executor != "streaming":
        problems.append(f"{where}.{EXECUTOR}: {shown(executor)} cannot be chosen: leave it out, or use streaming")
    fields = {key.removeprefix(PREFIX): text for key, text in env.items() if key.startswith(PREFIX)}
    # In this order a value within an option comes after the option itself.
    for field, text in sorted(fields.items()):
        if field in _CHOICES:
            continue
        try:
            _read(release, field, text, good, (engine, cluster))
        except OptionError as wrong:
            problems.append(problem(where, PREFIX + field, text, wrong))
    return good, tuple(problems)


def _read(
    release: Release, field: str, text: str, good: dict[str, Any], cell: tuple[EngineChoice, ClusterChoice]
) -> None:
    """Store one variable's value in the options."""
    engine, cluster = cell
    name, _, key = field.partition("__")
    name, key = name.lower(), key.lower()
    if name in RESERVED:
        raise OptionError(f"is set, but {name} {RESERVED[name]}")
    option = release.options.get(name)
    if option is None:
        raise OptionError(f"is set, but {unknown(release, name)}")
    belongs(release, option, engine, cluster)
    if key:
        good[name] = {**_surrounding(option, good, key), key: read_text(option.fields[key], text)}
    elif option.kind is OptionKind.MAPPING and not (option.can_be_off or option.bare or "*" in option.fields):
        raise OptionError(f"is not read by the release: {_keys(option)}")
    else:
        good[name] = allowed(option, engine, cluster, read_text(option, text))


def _surrounding(option: Option, good: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the mapping that contains a value, with its other known values."""
    if key not in option.fields or option.bare:
        raise OptionError(f"is not read by the release: {_keys(option)}")
    value = good.get(option.name, None if option.can_be_off and not option.default else {})
    if not isinstance(value, Mapping):
        raise OptionError(
            f"has no effect, for {option.name} is off: set {PREFIX}{option.name.upper()}=1, or leave it out"
        )
    return value


def _keys(option: Option) -> str:
    """Name the variables of an option."""
    variable = PREFIX + option.name.upper()
    if option.kind is not OptionKind.MAPPING or option.bare or "*" in option.fields:
        return f"set {variable}"
    own = [variable] if option.can_be_off else []
    return f"set {listed([*own, *(f'{variable}__{key.upper()}' for key in option.fields)])}"
