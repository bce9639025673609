"""The locked packages of the RAPIDS releases: complete, hashed, and of the releases that the table knows."""

from __future__ import annotations

import re

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from gpuquery.plan.releases import RELEASES
from tools.lock_releases import FOLDER, HOLES, PINS, lock_file, locked, locks, runner_pins, wanted

every_lock = pytest.mark.parametrize(("release", "cuda"), list(locks()), ids=str)


@pytest.mark.skipif(not RELEASES, reason="the table of releases is empty")
def test_the_table_and_the_locks_know_the_same_releases_on_the_same_cuda_versions() -> None:
    assert {name: tuple(release.cuda) for name, release in RELEASES.items()} == {n: p.cuda for n, p in PINS.items()}


@every_lock
def test_a_lock_holds_the_version_that_the_table_was_checked_with(release: str, cuda: int) -> None:
    if release not in RELEASES:
        pytest.skip("the table of releases does not hold it")
    pins = locked(lock_file(release, cuda))
    assert pins[f"cudf-polars-cu{cuda}"] == RELEASES[release].version
    assert Version(pins["polars"]) in SpecifierSet(RELEASES[release].polars)


@every_lock
def test_an_input_is_what_the_tool_would_write(release: str, cuda: int) -> None:
    path = lock_file(release, cuda).with_suffix(".in")
    assert path.read_text() == wanted(release, cuda), f"{path.name} is stale: make lock-releases"


@every_lock
def test_every_package_that_an_input_names_is_locked_in_the_version_it_asks_for(release: str, cuda: int) -> None:
    pins = locked(lock_file(release, cuda))
    for line in wanted(release, cuda).splitlines():
        if line and not line.startswith("#"):
            name, specifier = re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?(.*)", line).groups()  # type: ignore[union-attr]
            assert Version(pins[name]) in SpecifierSet(specifier), line


@every_lock
def test_multi_gpu_parts_and_the_libraries_that_nobody_asks_for_are_locked(release: str, cuda: int) -> None:
    pins = locked(lock_file(release, cuda))
    major = f"-cu{cuda}" if cuda < 13 else ""
    wants = [f"{x}-cu{cuda}" for x in ("cudf-polars", "rapidsmpf", "ucxx", "distributed-ucxx", "libcudf", "rmm")]
    assert {*wants, "dask-cuda", *(f"nvidia-{hole}{major}" for hole in HOLES)} <= pins.keys()
    assert pins[f"ucxx-cu{cuda}"].startswith(PINS[release].ucxx)


@every_lock
def test_the_runner_has_the_versions_of_the_tests_and_the_polars_of_the_release(release: str, cuda: int) -> None:
    pins = locked(lock_file(release, cuda))
    assert set(runner_pins()) <= {f"{name}=={version}" for name, version in pins.items()}
    assert not [pin for pin in runner_pins() if pin.startswith("polars")]
    assert "polars" in pins


@every_lock
def test_a_lock_has_hashes_and_no_address(release: str, cuda: int) -> None:
    text = lock_file(release, cuda).read_text()
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked(lock_file(release, cuda))) > 40
    assert [block for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text
    assert "--index" not in text
    assert "make lock-releases" in text.splitlines()[1]


def test_there_is_no_lock_without_pins() -> None:
    assert {path.name for path in FOLDER.glob("*.txt")} == {lock_file(*lock).name for lock in locks()}
    assert {path.name for path in FOLDER.glob("*.in")} == {lock_file(*lock).with_suffix(".in").name for lock in locks()}
