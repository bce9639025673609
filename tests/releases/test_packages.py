"""Whether versions, pins, names and modules in the table are those of the packages."""

from __future__ import annotations

import re

import pytest

from tests.releases import environments
from tests.releases.conftest import Package, about, agree, started
from tests.releases.environments import CUDA

pytestmark = pytest.mark.releases
SPMD = ("cudf_polars.experimental.rapidsmpf.spmd.spmd_execution", "cudf_polars.engine.spmd.SPMDEngine")
DASK_ENGINE = "cudf_polars.engine.dask.DaskEngine"


def installed(package: Package, name: str) -> dict[str, list[str] | str]:
    """Return what the metadata of a distribution says, with the CUDA suffix or without."""
    found = package.ask("metadata", names=[f"{name}-cu{CUDA}", name])
    data = next((data for data in found.values() if data), None)
    assert data is not None, f"{package.release.name}: {name} is not installed"
    return data


def requirement(data: dict[str, list[str] | str], name: str) -> str | None:
    """Return the versions that a distribution requires of another, sorted; None if it does not require it."""
    for text in data["requires"]:
        found = re.match(rf"{name}(?:-cu\d+)?(?:\[[^]]*\])?([<>=~!][^;]*)?(?:;(?!.*extra).*)?$", text)
        if found:
            return ",".join(sorted((found[1] or "").strip().split(","), reverse=True))
    return None


def test_version(package: Package) -> None:
    agree(
        package.release, "version", table=package.release.version, package=installed(package, "cudf-polars")["version"]
    )


def test_polars_range(package: Package) -> None:
    found = requirement(installed(package, "cudf-polars"), "polars")
    agree(package.release, "polars", table=package.release.polars, package=found)


def test_python_range(package: Package) -> None:
    data = installed(package, "cudf-polars")
    pythons = sorted(data["pythons"], key=lambda version: int(version.split(".")[1]))
    agree(package.release, "python", table=package.release.python, package=(pythons[0], pythons[-1]))
    agree(package.release, "python[0]", table=f">={package.release.python[0]}", package=data["python"])


def test_cuda_majors(package: Package) -> None:
    found = tuple(major for major in (12, 13) if environments.lock(package.release.name, major).exists())
    agree(package.release, "cuda", table=package.release.cuda, package=found)


@pytest.mark.parametrize("name", ["rapidsmpf", "ucxx", "dask-cuda", "dask"])
def test_pins(package: Package, name: str) -> None:
    release = package.release
    version = str(installed(package, name)["version"])
    pin = release.pins[name]
    agree(release, f"pins[{name}]", table=pin, package=re.sub(r"[^.]+$", "*", version) if "*" in pin else version)
    source, package_name = {
        "rapidsmpf": ("cudf-polars", "rapidsmpf"),
        "ucxx": ("rapidsmpf", "ucxx"),
        "dask-cuda": ("dask-cuda", "rapids-dask-dependency"),
        "dask": ("rapids-dask-dependency", "dask"),
    }[name]
    texts = [t for t in installed(package, source)["requires"] if re.match(rf"{package_name}(-cu\d+)?[<>=]", t)]
    for text in texts:
        assert pin.removesuffix(".*") in text, f"{release.name}, pins[{name}]: the table says {pin}, {source} {text}"


def test_packages_that_the_wheels_need_and_do_not_require(package: Package) -> None:
    """The runtime images close these holes."""
    libcudf = [installed(package, name) for name in ("libcudf", "pylibcudf", "cudf-polars")]
    holes = {
        name
        for library, name in (("nvJitLink", "nvidia-nvjitlink"), ("nvrtc", "nvidia-cuda-nvrtc"))
        if library in package.ask("loads") and not any(_requires(data, name, library) for data in libcudf)
    }
    if requirement(installed(package, "rapidsmpf"), "ucxx") is None:
        holes.add("ucxx")
    agree(package.release, "undeclared", table=sorted(package.release.undeclared), package=sorted(holes))


def _requires(data: dict[str, list[str] | str], name: str, library: str) -> bool:
    """CUDA packages may be required under their own name, or as an extra of cuda-toolkit."""
    texts = " ".join(data["requires"])
    return name in texts or bool(re.search(rf"cuda-toolkit\[[^]]*{library.lower()}", texts))


def test_the_packages_can_be_imported(package: Package) -> None:
    failed = package.ask("imports", modules=["cudf_polars", "ucxx", "rapidsmpf.communicator.ucxx", "dask_cuda"])
    agree(package.release, "imports", table=None, package=failed)


def test_names_of_concepts(package: Package) -> None:
    release, fields = package.release, package.ask("fields")
    agree(
        release, "words[engine]", table=release.words.get("engine"), package="runtime" if "runtime" in fields else None
    )
    cluster = "cluster" if "cluster" in fields else "scheduler"
    agree(release, "words[cluster]", table=release.words["cluster"], package=cluster)
    folder, _, name = release.words["package"].rpartition(".")
    agree(release, "words[package]", table=True, package=package.ask("knows", path=f"{folder}.{name}"))
    agree(release, "words[Dask]", table=True, package=package.ask("knows", path=release.words["Dask"]))
    spmd = [path for path in SPMD if package.ask("knows", path=path) is True]
    agree(release, "words[SPMD]", table=[release.words["SPMD"]] if "SPMD" in release.words else [], package=spmd)
    has_dask_engine = package.ask("knows", path=DASK_ENGINE) is True
    agree(release, "words[Dask]", table=release.words["Dask"] == DASK_ENGINE, package=has_dask_engine)


@pytest.mark.parametrize(
    ("needed", "words"),
    [
        ("ucxx", "does not require ucxx"),
        ("nvidia-nvjitlink", "does not declare nvidia-nvjitlink"),
        ("nvidia-cuda-nvrtc", "does not declare nvidia-cuda-nvrtc"),
    ],
)
def test_packages_that_are_not_required_are_told_as_defects(package: Package, needed: str, words: str) -> None:
    told = any(words in defect for defect in package.release.defects)
    agree(package.release, f"defects: {words}", table=told, package=needed in package.release.undeclared)


def test_order_of_imports(package: Package) -> None:
    """Needs a process in which nothing was imported yet."""
    fresh = started(package.release)
    failed = fresh.ask("imports", modules=["rapidsmpf.communicator.ucxx"])
    fresh.close()
    told = any("cannot be imported before ucxx" in defect for defect in package.release.defects)
    agree(package.release, "defects: ucxx first", table=told, package=failed is not None)


@about("26.04")
def test_rapidsmpf_without_a_driver(package: Package) -> None:
    bare = started(package.release, stub=False)
    answer = bare.configure({"runtime": "rapidsmpf"})
    bare.close()
    told = any("says that rapidsmpf is not installed" in defect for defect in package.release.defects)
    agree(package.release, "defects: libnvidia-ml", table=told, package="requires rapidsmpf" in answer.get("error", ""))
