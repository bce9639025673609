"""Environments of their own for packages that do not go together with ours, below `~/.cache/gpuquery/`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCKS = Path(__file__).parents[2] / "requirements"


def home(name: str, *parts: bytes) -> Path:
    """Return the folder in the user's cache that belongs to a name and to these contents."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "gpuquery" / name / hashlib.sha256(b"".join(parts)).hexdigest()[:12]


def python(lock: Path, folder: Path) -> Path:
    """Return the Python of an environment in a folder with what is locked in a file, made if it is not there."""
    environment = folder / "venv"
    if not (environment / ".installed").exists():
        uv = shutil.which("uv", path=sysconfig.get_path("scripts")) or "uv"
        subprocess.run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, environment], check=True)
        install = [uv, "pip", "install", "--quiet", "--require-hashes", "--requirement", lock]
        subprocess.run(install, check=True, env={**os.environ, "VIRTUAL_ENV": str(environment)})
        (environment / ".installed").touch()
    return environment / "bin" / "python"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out, so that two of them do not make the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
