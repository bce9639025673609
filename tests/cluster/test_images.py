"""Image builds borrow this machine's settings and keep none of them; one runtime for each RAPIDS release."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "images"))

import base
import build as images
import machine


def test_images_are_local_unless_a_registry_is_named() -> None:
    assert images.tag_of("operator", {}) == "localhost/gpuquery-operator:dev"
    there = {"REGISTRY": "registry.example/team/", "TAG": "v1"}
    assert images.tag_of("runtime", there) == "registry.example/team/gpuquery-runtime:v1"


def test_releases_add_their_runtimes_to_what_is_built() -> None:
    assert images.defaults({}) == list(images.NAMES)
    chosen = images.defaults({"RELEASES": "26.04 26.10"})
    assert chosen == [*images.NAMES, "runtime-26.04-cu12", "runtime-26.10-cu12"]
    assert images.defaults({"RELEASES": "26.10", "CUDA": "13"})[-1] == "runtime-26.10-cu13"


def test_the_operator_of_dask_kubernetes_is_built_on_demand_only() -> None:
    assert "dask-kubernetes" not in images.defaults({})
    assert images.defaults({"TEST_DASK_KUBERNETES": "1"})[-1] == "dask-kubernetes"
    assert (images.ROOT / images.lock_of("dask-kubernetes")).exists()


def test_a_rapids_release_is_two_build_arguments_of_the_runtime() -> None:
    assert images.build_arguments("runtime-26.10-cu13").items() >= {"RELEASE": "26.10", "CUDA": "13"}.items()
    assert "RELEASE" not in images.build_arguments("runtime")
    assert images.tag_of("runtime-26.10-cu13", {}) == "localhost/gpuquery-runtime-26.10-cu13:dev"


@pytest.mark.parametrize("name", ["runtime-26.10-cu11", "runtime-25.08-cu13", "test-engine-99.99-cu12"])
def test_a_release_without_a_lock_is_refused_with_those_that_have_one(name: str) -> None:
    with pytest.raises(machine.RefusedError, match=f"no image {name}.* 25.08-cu12, 25.10-cu12"):
        images.release_of(name)


def test_the_test_engine_is_put_on_top_of_its_release_s_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "test-engine-26.10-cu12"
    assert images.release_of(name) == ("26.10", "12")
    assert images.runtime_of("runtime-26.10-cu12") == ""
    assert images.build_arguments(name)["RUNTIME"] == images.tag_of("runtime-26.10-cu12")
    assert images.folder(name) == images.ROOT / "images" / "test-engine"
    built: list[str] = []
    monkeypatch.setattr(images, "build", lambda name, _: built.append(name))
    monkeypatch.setattr(base, "compiler", lambda *_: "compiler")
    images.build_all([name], base.Bases("a", "b"))
    assert built == ["runtime-26.10-cu12", name]


def test_the_test_engine_is_built_anew_when_it_or_its_runtime_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = "test-engine-26.10-cu12"
    engine = "tests/engine/engine.py"
    shared = ("images/dependencies.sh", "images/project.sh", "images/test-engine/Containerfile")
    for path in (images.lock_of(name), *shared, engine, "dist/gpuquery-1.whl"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    monkeypatch.setattr(images, "ROOT", tmp_path)
    seen = {images.inputs(name, {}, "runtime"), images.inputs(name, {}, "another runtime")}
    (tmp_path / engine).write_text("changed")
    seen.add(images.inputs(name, {}, "runtime"))
    assert len(seen) == 3


def test_an_image_is_built_anew_when_its_lock_or_what_is_left_out_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lock, rest, left_out = (
        images.lock_of("runtime-26.10-cu12"),
        "images/dependencies.sh images/project.sh",
        "left-out.txt",
    )
    for path in [
        lock,
        *rest.split(),
        *(f"images/runtime/{p}" for p in ("Containerfile", left_out)),
        "dist/gpuquery-1.whl",
    ]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    monkeypatch.setattr(images, "ROOT", tmp_path)
    seen = {images.inputs("runtime-26.10-cu12", {}, "base")}
    for path in (lock, f"images/runtime/{left_out}", "dist/gpuquery-1.whl"):
        (tmp_path / path).write_text("changed")
        seen.add(images.inputs("runtime-26.10-cu12", {}, "base"))
    assert len(seen) == 4


def test_what_is_left_out_is_locked_somewhere_and_no_engine_s_own() -> None:
    lines = (images.ROOT / "images/runtime/left-out.txt").read_text().splitlines()
    names = {line for line in lines if line and not line.startswith("#")}
    locks = "\n".join(path.read_text() for path in (images.ROOT / "requirements/releases").glob("*.txt"))
    assert {name for name in names if f"\n{name}==" not in locks} == set()
    assert not [name for name in names if re.search(r"cudf|rmm|ucx|rapids|kvikio|nvcomp|nvjitlink|nvrtc|dask", name)]


def test_pips_settings_come_from_its_file_and_the_environment_wins(tmp_path: Path) -> None:
    ca, wheels = tmp_path / "ca.crt", tmp_path / "wheels"
    ca.touch()
    wheels.mkdir()
    system = f"[global]\ncert = {ca}\ntimeout = 15\n"
    env = {"PIP_TIMEOUT": "180", "PIP_FIND_LINKS": str(wheels), "SSL_CERT_FILE": "/elsewhere", "HOME": "/root"}
    assert machine.pip_settings(env, system) == {"cert": str(ca), "timeout": "180", "find-links": str(wheels)}


def test_a_folder_that_is_gone_is_left_out() -> None:
    assert machine.pip_settings({"PIP_FIND_LINKS": "/no/such/folder"}, "") == {}


def test_settings_are_lent_as_volumes_and_never_as_environment(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.touch()
    arguments = machine.settings(tmp_path, {"SSL_CERT_FILE": str(ca)}, tmp_path / "none")
    assert arguments == [
        "--volume", f"{tmp_path}/pip.conf:/etc/pip.conf:ro", "--volume", f"{ca}:{ca}:ro",
    ]  # fmt: skip


def test_a_base_that_is_named_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "image_id", lambda _: "an id")
    assert base.choose({"BASE": "localhost/mine"}) == base.Bases("localhost/mine", "localhost/mine")
    assert base.choose({"BASE": "a", "BUILDER": "b"}) == base.Bases("a", "b")


def test_a_base_is_made_where_none_can_be_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(machine, "image_id", lambda _: "")
    monkeypatch.setattr(base, "_pull", lambda _: False)
    monkeypatch.setattr(base, "_make", made.append)
    bases = base.choose({})
    assert bases == base.Bases(base.made("base"), base.made("builder"))
    assert made == ["base", "builder"]
    assert base.compiler(bases, {}) == base.made("compiler")
    assert made == ["base", "builder", "compiler"]


def test_the_compiler_is_the_builder_where_that_was_not_made_here() -> None:
    assert base.compiler(base.Bases("a", "b"), {}) == "b"
    assert base.compiler(base.Bases("a", "b"), {"COMPILER": "c"}) == "c"


def test_a_made_base_is_named_after_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    before = base.made("base")
    monkeypatch.setitem(base.PACKAGES, "base", "python3")
    assert base.made("base") != before
