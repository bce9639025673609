"""Wheels travel in pieces of a limited size, and arrive whole or not at all."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import pack_wheels


def wheel(folder: Path, name: str, *, size: int = 0) -> Path:
    """A wheel with one module, which says its name, and some bytes that do not compress."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"NAME = {name!r}\n")
        archive.writestr(f"{name}_data.bin", os.urandom(size))
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def unpack(pieces: Path, folder: Path, python: str = sys.executable) -> "subprocess.CompletedProcess[str]":
    env = os.environ | {"PYTHON": python, "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run(["sh", str(pieces / "unpack.sh"), str(folder)], env=env, capture_output=True, text=True)


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    wheels = [wheel(tmp_path / "wheels", "alpha", size=40_000), wheel(tmp_path / "wheels", "beta", size=5_000)]
    pack_wheels.pack(wheels, tmp_path / "pieces", most=10_000)
    return tmp_path / "pieces"


def test_wheels_arrive_in_pieces_and_run(pieces: Path, tmp_path: Path) -> None:
    parts = sorted(pieces.glob(f"{pack_wheels.NAME}.*"))
    assert len(parts) >= 5
    assert all(part.stat().st_size <= 10_000 for part in parts)
    done = unpack(pieces, tmp_path / "there with spaces")
    assert done.returncode == 0, done.stderr
    python = done.stdout.strip()
    ran = subprocess.run(
        [python, "-c", "import alpha, beta; print(alpha.NAME, beta.NAME)"], capture_output=True, text=True
    )
    assert ran.stdout.split() == ["alpha", "beta"], ran.stderr
    assert not (tmp_path / "there with spaces" / "wheels").exists()


@pytest.mark.parametrize("harm", ["cut", "lost"])
def test_a_piece_that_is_not_whole_is_refused(pieces: Path, tmp_path: Path, harm: str) -> None:
    part = pieces / f"{pack_wheels.NAME}.001"
    if harm == "cut":
        part.write_bytes(part.read_bytes()[:-1])
    else:
        part.unlink()
    done = unpack(pieces, tmp_path / "there")
    assert done.returncode != 0
    assert part.name in done.stdout + done.stderr
    assert not (tmp_path / "there").exists()


def test_another_version_of_python_is_refused_by_name(pieces: Path, tmp_path: Path) -> None:
    other = tmp_path / "python9"
    other.write_text("#!/bin/sh\necho 9.9\n")
    other.chmod(0o755)
    done = unpack(pieces, tmp_path / "there", str(other))
    assert done.returncode == 1
    assert f"and {other} is 9.9: set PYTHON" in done.stderr


def test_wheels_can_be_left_out_by_pattern(tmp_path: Path) -> None:
    for name in ("nvidia_cublas", "nvidia_nvrtc", "cupy", "libcudf"):
        wheel(tmp_path, name)
    left = [path.name for path in pack_wheels.chosen(tmp_path, ["nvidia_*", "cupy-*"])]
    assert left == ["libcudf-1.0-py3-none-any.whl"]


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(SystemExit, match="is not empty: name another"):
        pack_wheels.pack([wheel(tmp_path / "wheels", "alpha")], tmp_path)


def test_pieces_are_the_same_whoever_packs(tmp_path: Path) -> None:
    one = wheel(tmp_path / "wheels", "alpha")
    pack_wheels.pack([one], tmp_path / "a")
    os.utime(one, (1, 1))
    pack_wheels.pack([one], tmp_path / "b")
    assert (tmp_path / "a" / pack_wheels.SUMS).read_text() == (tmp_path / "b" / pack_wheels.SUMS).read_text()
