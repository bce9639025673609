"""Does the image hold what the plan was made for? Answered from the packages' metadata, before anything of CUDA loads.

A plan names options and engines as one RAPIDS release knows them, so another release would refuse them at best, and run
them otherwise at worst.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from gpuquery.api.choices import GPU_ENGINES, Dialect
from gpuquery.api.combinations import listed
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import Language
from gpuquery.plan.releases import RELEASES, SQL_POLARS, Way, cell_of, sql_on_cpu, sql_on_gpus
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from gpuquery.plan.plan import Plan

_CUDA = ("-cu12", "-cu13", "")
"""Endings of the names of packages: of wheels by CUDA version, and of other builds (conda)."""
_DASK = ("dask", "distributed", "dask-cuda", "distributed-ucxx")
"""Packages that a Dask cluster needs beside cudf-polars, without the CUDA ending."""
_PURE = ("dask", "distributed", "dask-cuda")
"""Packages without a CUDA ending."""
_BOUND = re.compile(r"(>=|<=|<|>|==|!=)\s*([0-9][0-9.]*)")


@dataclass(frozen=True)
class Installed:
    """What this environment holds."""

    polars: str
    cudf_polars: str | None = None
    """Version of cudf-polars; None if it is not installed."""
    package: str = "cudf-polars"
    """Name under which it is installed."""

    @property
    def release(self) -> str | None:
        """RAPIDS release, such as 26.10; None without cudf-polars."""
        if self.cudf_polars is None:
            return None
        year, month, *_ = self.cudf_polars.split(".")
        return f"{int(year):02d}.{int(month):02d}"

    @property
    def described(self) -> str:
        """In words, for a message."""
        gpu = f"{self.package} {self.cudf_polars}" if self.cudf_polars else "no cudf-polars"
        return f"{gpu}, Polars {self.polars}"


def installed() -> Installed:
    """Look at what is installed; imports nothing of it."""
    polars = version("polars")
    found = _find("cudf-polars")
    return Installed(polars, found[1], found[0]) if found else Installed(polars)


@dataclass(frozen=True)
class Place:
    """Words for where the packages are, and what else than to install them may be done there."""

    name: str
    or_without: str
    or_other_image: str


IMAGE = Place(
    "image", ", or leave runtime.image out and let the operator choose the image of the release",
    ", or runtime.image to one of {release}",
)  # fmt: skip
MACHINE = Place(
    "machine", " where there is a GPU, or run it without one: engine: cpu",
    ", or install the packages of {release} (requirements/releases/{release}-cu12.txt)",
)  # fmt: skip


def check(plan: Plan, place: Place = IMAGE) -> Installed:
    """Compare the plan with the image; raises JobError(ReleaseMismatch or InvalidPlan) that names both."""
    here = installed()
    if plan.engine not in GPU_ENGINES:
        return here
    if here.release is None:
        asked = f" (RAPIDS {plan.release})" if plan.release else ""
        raise JobError(
            Failure.INVALID_PLAN,
            f'engine "{plan.engine}"{asked} needs cudf-polars, which this {place.name} does not have (it has '
            f"Polars {here.polars}): install {_install('cudf-polars', plan)}{place.or_without}",
        )
    if plan.release and here.release != plan.release:
        raise JobError(
            Failure.RELEASE_MISMATCH,
            f"the job is planned for RAPIDS {plan.release}, but this {place.name} has RAPIDS {here.release} "
            f'({here.described}): set runtime.release to "{here.release}"'
            + place.or_other_image.format(release=plan.release),
        )
    _check_polars(here, place)
    if missing := [name for name in _needed(plan, here.release) if not _find(name)]:
        raise JobError(
            Failure.INVALID_PLAN,
            f'engine "{plan.engine}" with cluster "{plan.cluster}" needs {" and ".join(missing)}, which this '
            f"{place.name} ({here.described}) does not have: install "
            + " ".join(_install(name, plan) for name in missing),
        )
    return here


def check_sql(plan: Plan, here: Installed) -> None:
    """Raise JobError(UnsupportedQuery or ReleaseMismatch) if SQL would not mean here what SQL says."""
    if plan.language is not Language.SQL or plan.dialect is Dialect.POLARS:
        return
    if plan.engine in GPU_ENGINES:
        release = RELEASES.get(here.release or "")
        if release is not None and release.sql_unlike:
            raise JobError(
                Failure.UNSUPPORTED_QUERY,
                f"query.sql cannot run on GPUs with RAPIDS {release.name}: {release.sql_unlike}: use an image of one "
                f"of the releases {listed(sql_on_gpus())}, or query.python",
            )
        return
    if wanted := _other_polars(here):
        raise JobError(
            Failure.RELEASE_MISMATCH,
            f'query.sql with engine "cpu" needs Polars {wanted}, whose results were compared; here is Polars '
            f"{here.polars}: leave runtime.image and runtime.release out, or install a Polars of that range there",
        )


def check_expectations(plan: Plan, here: Installed) -> None:
    """Raise JobError(UnsupportedQuery) if SQL of `output.expect`, which always runs on the CPU, would not mean here
    what SQL says."""
    if any(one.sql is not None for one in plan.output.expect or ()) and (wanted := _other_polars(here)):
        raise JobError(
            Failure.UNSUPPORTED_QUERY,
            f"output.expect: sql needs Polars {wanted}, whose results were compared; here is {here.described}: use "
            f"rows, unique and notNull, or runtime.release {' or '.join(sql_on_cpu())}, or engine: cpu",
        )


def _other_polars(here: Installed) -> str:
    """The range of Polars whose SQL was compared on the CPU, if the one here is outside of it."""
    first, beyond = SQL_POLARS
    return "" if first <= _numbers(here.polars) < beyond else f">={_dotted(first)},<{_dotted(beyond)}"


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def _needed(plan: Plan, release: str) -> tuple[str, ...]:
    cell = cell_of(release, plan.engine, plan.cluster)
    if cell is None:
        return ()
    by_dask = _DASK if plan.dask is not None or cell.way is Way.DASK else ()
    return tuple(dict.fromkeys((*cell.packages, *by_dask)))


def _check_polars(here: Installed, place: Place) -> None:
    """The range that cudf-polars itself declares: a Polars outside of it has plans that it does not know."""
    declared = next((r for r in requires(here.package) or () if re.match(r"polars\b(?!-)", r)), "")
    if not all(_holds(here.polars, operator, bound) for operator, bound in _BOUND.findall(declared.partition(";")[0])):
        wanted = declared.partition(";")[0].removeprefix("polars").strip(" ()")
        raise JobError(
            Failure.RELEASE_MISMATCH,
            f"RAPIDS {here.release} works with Polars {wanted}, but this {place.name} has {here.described}: install a "
            "Polars of that range there",
        )


def _holds(found: str, operator: str, bound: str) -> bool:
    a, b = _numbers(found), _numbers(bound)
    size = max(len(a), len(b))
    a, b = a + (0,) * (size - len(a)), b + (0,) * (size - len(b))
    return {">=": a >= b, "<=": a <= b, "<": a < b, ">": a > b, "==": a == b, "!=": a != b}[operator]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[^\d.]", text)[0]))


def _find(name: str) -> tuple[str, str] | None:
    """Name and version of a package under any of its CUDA endings."""
    for ending in _CUDA:
        try:
            return name + ending, version(name + ending)
        except PackageNotFoundError:
            continue
    return None


def _install(name: str, plan: Plan) -> str:
    """What to give to pip: the package for the CUDA version that is there already, in the release's version."""
    release = RELEASES.get(plan.release)
    versions = {"cudf-polars": f"{release.version.rpartition('.')[0]}.*", **release.pins} if release else {}
    pinned = {"distributed": "dask", "distributed-ucxx": "ucxx"}.get(name, name)
    ending = "" if name in _PURE else next((e for e in _CUDA if _installed_with(e)), "-cu12")
    return f"{name}{ending}" + (f"=={versions[pinned]}" if pinned in versions else "")


def _installed_with(ending: str) -> bool:
    try:
        version("cudf-polars" + ending)
    except PackageNotFoundError:
        return False
    return True
