"""Image builds borrow this machine's settings and keep none of them."""

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


def test_a_rapids_release_is_one_build_argument_of_the_runtime() -> None:
    chosen = {"FLAVOUR": "26.10", "REQUIREMENTS": "requirements/rapids-26.10.txt"}
    assert images.build_arguments("runtime", chosen).items() >= chosen.items()
    assert not images.build_arguments("operator", chosen).keys() & chosen.keys()


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
    monkeypatch.setattr(machine, "label", lambda *_: None)
    monkeypatch.setattr(base, "_pull", lambda _: False)
    monkeypatch.setattr(base, "_make", lambda image, _: made.append(image))
    assert base.choose({}) == base.Bases(*base.MADE)
    assert made == list(base.MADE)
