"""Checking executor options against a release, before a GPU is asked for.

Each problem is one sentence, `<where>.<name>: <value> <what is wrong>: <the way out>`.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from gpuquery.api import choices
from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.plan.releases.foreign import ELSEWHERE, RESERVED, SUCCESSORS
from gpuquery.plan.releases.model import CLUSTERS, GPU_ENGINES, Cell, Option, Release
from gpuquery.plan.releases.table import RELEASES, SQL_POLARS
from gpuquery.plan.releases.values import OptionError, read, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

WHERE = "executorOptions"


def find(name: str) -> Release | None:
    """Return a release by its name, such as 26.10."""
    return RELEASES.get(name)


def cell_of(release: str, engine: EngineChoice, cluster: ClusterChoice) -> Cell | None:
    """Return the cell of a combination; None if the table does not know the release, or the cell."""
    known = find(release)
    return known.cells.get((engine, cluster)) if known else None


def names() -> tuple[str, ...]:
    """Return the names of all known releases, oldest first."""
    return tuple(RELEASES)


def nearest(name: str) -> Release:
    """Return a release by its name; for an unknown one the last one before it, or the first."""
    known = [release for release in RELEASES.values() if release.name <= name]
    return known[-1] if known else next(iter(RELEASES.values()))


def those(holds: Callable[[Release], bool]) -> tuple[str, ...]:
    """Return the releases for which a condition holds, oldest first."""
    return tuple(release.name for release in RELEASES.values() if holds(release))


def sql_on_gpus(*, releases: Mapping[str, Release] = RELEASES) -> tuple[str, ...]:
    """Return the releases without known deviations from SQL on GPUs, oldest first."""
    return tuple(name for name, release in releases.items() if not release.sql_unlike)


def sql_on_cpu(*, releases: Mapping[str, Release] = RELEASES) -> tuple[str, ...]:
    """Return the releases that accept a Polars which follows SQL on the CPU, oldest first."""
    return tuple(name for name, release in releases.items() if _beyond(release) > SQL_POLARS[0])


def _beyond(release: Release) -> tuple[int, ...]:
    """Return the first version of Polars that is too new for a release."""
    return tuple(int(part) for part in release.polars.partition("<")[2].split("."))


def runnable(
    engine: EngineChoice, cluster: ClusterChoice, *, releases: Mapping[str, Release] = RELEASES
) -> tuple[str, ...]:
    """Return the releases that can run an engine on a cluster shape, oldest first; `auto` is any."""
    return tuple(name for name, release in releases.items() if _cells(release, engine, cluster))


def safe(engine: EngineChoice, cluster: ClusterChoice) -> tuple[str, ...]:
    """Return the releases that run an engine on a cluster shape and write a replicated result only once."""
    return those(lambda release: release.writes_once(engine, cluster))


def check_options(
    release: Release,
    engine: EngineChoice,
    cluster: ClusterChoice,
    options: Mapping[str, Any],
    where: str = WHERE,
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Return the valid options in the release's form (bytes as numbers), and the errors of the others.

    With engine or cluster `auto`, checks that depend on them are skipped.
    """
    good: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in options.items():
        try:
            option = _known(release, engine, name)
            belongs(release, option, engine, cluster)
            good[name] = allowed(option, engine, cluster, read(option, value))
        except OptionError as wrong:
            problems.append(problem(where, name, value, wrong))
    together = _bounce_buffer(release, good)
    if together:
        problems.append(f"{where}.{together}")
    return good, tuple(problems)


def problem(where: str, name: str, value: Any, wrong: OptionError) -> str:
    """Return the sentence for a value."""
    if wrong.path:
        value = wrong.value
    return f"{where}.{name}{wrong.path}: {shown(value)} {wrong}"


def _known(release: Release, engine: EngineChoice, name: str) -> Option:
    if name in RESERVED:
        raise OptionError(f"is set, but {name} {RESERVED[name]}")
    if engine is EngineChoice.CPU:
        ways = listed(choices.GPU_ENGINES)
        raise OptionError(f"is set, but the engine cpu has no options: leave it out, or use engine {ways}")
    option = release.options.get(name)
    if option is None:
        raise OptionError(f"is set, but {unknown(release, name)}")
    return option


def unknown(release: Release, name: str) -> str:
    """Say that a release does not know an option, and what to do."""
    if name in ELSEWHERE:
        return f"{name} {ELSEWHERE[name]}"
    here = f"RAPIDS release {release.name} has no option {name}"
    others = tuple(other.name for other in RELEASES.values() if name in other.options)
    successor = next((new for names in SUCCESSORS if name in names for new in names if new in release.options), None)
    if successor:
        also = f", or release {listed(others)}" if others else ""
        return f"{here}: use {successor}{also}"
    if others:
        return f"{here}: leave it out, or use release {listed(others)}"
    near = difflib.get_close_matches(name, release.options, n=1)
    if near:
        return f"{here}: did you mean {near[0]}?"
    return f"{here}: use {listed(sorted(n for n, option in release.options.items() if not option.instead))}"


def belongs(release: Release, option: Option, engine: EngineChoice, cluster: ClusterChoice) -> None:
    """Raise `OptionError` if an option is not for this engine on this cluster."""
    if option.instead:
        raise OptionError(f"is set, but release {release.name} does nothing with {option.name}: {option.instead}")
    fits = engine in (option.engines | {EngineChoice.AUTO}) and cluster in (option.clusters | {ClusterChoice.AUTO})
    if fits:
        return
    engines = "" if option.engines == GPU_ENGINES else f"engine {listed(option.engines)}"
    clusters = "" if option.clusters == CLUSTERS else f"cluster {listed(option.clusters)}"
    home = " and ".join(part for part in (engines, clusters) if part)
    homes = [r for r in RELEASES.values() if option.name in r.options and _homes(r, r.options[option.name])]
    if release not in homes and homes:
        home += f" in release {listed(r.name for r in homes)}"
    raise OptionError(f"is set, but {option.name} is not for {engine} x {cluster}: leave it out, or use {home}")


def allowed(option: Option, engine: EngineChoice, cluster: ClusterChoice, value: Any) -> Any:
    """Return the value, or raise `OptionError` if this engine or cluster refuses it."""
    for refusal in option.refusals:
        engines = engine in refusal.engines or (engine is EngineChoice.AUTO and refusal.engines == GPU_ENGINES)
        clusters = cluster in refusal.clusters or (cluster is ClusterChoice.AUTO and refusal.clusters == CLUSTERS)
        if refusal.value == value and engines and clusters:
            raise OptionError(refusal.because)
    return value


def listed(words: Iterable[str]) -> str:
    """Return `a, b or c`."""
    found = [str(word) for word in words]
    return " or ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def _cells(release: Release, engine: EngineChoice, cluster: ClusterChoice) -> list[tuple[EngineChoice, ClusterChoice]]:
    return [
        (e, c)
        for (e, c), cell in release.cells.items()
        if cell.way is not None and engine in (e, EngineChoice.AUTO) and cluster in (c, ClusterChoice.AUTO)
    ]


def _homes(release: Release, option: Option) -> bool:
    """Whether a release runs a cell that the option is for."""
    return not option.instead and any(
        _cells(release, engine, cluster) for engine in option.engines for cluster in option.clusters
    )


def _bounce_buffer(release: Release, good: Mapping[str, Any]) -> str | None:
    """KvikIO reads each piece through one buffer of the host."""
    if "kvikio_bounce_buffer_bytes" not in release.options:
        return None
    names = ("kvikio_remote_io_backend", "kvikio_task_size", "kvikio_bounce_buffer_bytes")
    backend, task, buffer = (good.get(name, release.options[name].default) for name in names)
    if backend != "MULTI_POLL" or task is None or task <= buffer:
        return None
    return (
        f"kvikio_task_size: {task} is more than kvikio_bounce_buffer_bytes, {buffer}: set kvikio_bounce_buffer_bytes "
        f"to {task} or more, or kvikio_remote_io_backend to EASY_THREADPOOL"
    )
