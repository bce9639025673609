"""Environments with the real packages of a RAPIDS release, made from its lock; `make test-releases` runs this.

One lies below `~/.cache/gpuquery/releases/` under the release, the CUDA major version and the hash of its lock, so that
a changed lock makes a new one. The packages are hard links into uv's cache.

`GPUQUERY_TEST_RELEASES` names the releases to check (`make test-releases` sets it): all of them if it is empty.
Releases whose environment was not made are skipped, unless they are named there.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gpuquery.plan import releases

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "requirements" / "releases"
CUDA = int(os.environ.get("GPUQUERY_TEST_CUDA") or 12)
NAMED = tuple(os.environ.get("GPUQUERY_TEST_RELEASES", "").split())
CHECKED = NAMED or releases.names()
NVML = "libnvidia-ml.so.1"
NVML_SOURCE = "".join(
    f"int {name}(void) {{ return 12; }}  /* NVML_ERROR_LIBRARY_NOT_FOUND */\n"
    for name in ("nvmlInit_v2", "nvmlInitWithFlags", "nvmlShutdown")
)


def lock(release: str, cuda: int) -> Path:
    """Return the lock of a release."""
    return LOCKS / f"{release}-cu{cuda}.txt"


def folder(release: str, cuda: int) -> Path:
    """Return where the environment of a release is, whether it is there or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(lock(release, cuda).read_bytes()).hexdigest()[:12]
    return cache / "gpuquery" / "releases" / f"{release}-cu{cuda}-{digest}"


def python(release: str, cuda: int) -> Path | None:
    """Return the Python of a release's environment; None if it was not made."""
    home = folder(release, cuda)
    return home / "bin" / "python" if (home / ".installed").exists() else None


def python_of(release: str) -> Path:
    """Return the Python of a release's environment, or skip the test."""
    found = python(release, CUDA)
    if found is None:
        assert release not in NAMED, f"make test-releases should have installed {release}"
        pytest.skip(f"the packages of {release} are not installed: make test-releases RELEASES={release}")
    return found


def make(release: str, cuda: int) -> Path:
    """Make the environment of a release if it is not there, and return its Python."""
    home = folder(release, cuda)
    with _alone(home):
        found = python(release, cuda)
        if found is None:
            uv = shutil.which("uv", path=sysconfig.get_path("scripts")) or "uv"
            subprocess.run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, home], check=True)
            install = [uv, "pip", "install", "--quiet", "--require-hashes", "--requirement", lock(release, cuda)]
            subprocess.run(install, check=True, env=os.environ | {"VIRTUAL_ENV": str(home)})
            (home / ".installed").touch()
        return home / "bin" / "python"


def nvml_stub(home: Path) -> Path:
    """Return a folder with NVIDIA's management library as it is on no machine: it says that it was not found.

    Without a library of that name 26.04 cannot load rapidsmpf; with this one it goes on as if there were none.
    """
    stub = home / "stub"
    if not (stub / NVML).exists():
        stub.mkdir(exist_ok=True)
        command = ["gcc", "-shared", "-fPIC", "-o", stub / NVML, f"-Wl,-soname,{NVML}", "-x", "c", "-"]
        subprocess.run(command, input=NVML_SOURCE, text=True, check=True)
    return stub


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep other processes out, so that two of them do not install into one environment."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f"{home.name}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Make the environments that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuda", type=int, default=12)
    parser.add_argument("release", nargs="*", help="left out: all")
    args = parser.parse_args()
    if unknown := set(args.release) - set(releases.names()):
        parser.error(f"{', '.join(sorted(unknown))}: not known; use {', '.join(releases.names())}")
    for release in args.release or releases.names():
        if not lock(release, args.cuda).exists():
            print(f"{release}: no lock for CUDA {args.cuda}, left out")
            continue
        start = time.monotonic()
        home = make(release, args.cuda).parents[1]
        print(f"{release}: {home} ({time.monotonic() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
