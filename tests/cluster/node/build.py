"""The cluster's programs, built once from pinned Go modules and kept under the hash of their inputs."""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import host, pause, toolchain
from .host import say
from .layout import Layout, RefusedError

SOURCES = Path(__file__).resolve().parent.parent / "go"
RECIPE = "1"  # raise it when the way of building changes, so that caches are left behind
STAMP = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Module:
    """One go.mod whose tool block names the programs; `extra` are packages of our own in it."""

    name: str
    cgo: bool
    tags: str = ""
    extra: tuple[str, ...] = ()

    def flags(self) -> list[str]:
        """Flags of `go install`, with Kubernetes' version stamped in: Helm and kubectl ask for it."""
        version = kubernetes_version((SOURCES / "kubernetes" / "go.mod").read_text())
        major, minor = version.lstrip("v").split(".")[:2]
        stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
        linker = " ".join(["-s", "-w", *(f"-X {STAMP}.{key}={value}" for key, value in stamps.items())])
        return ["-trimpath", "-ldflags", linker, *(["-tags", self.tags] if self.tags else [])]


MODULES = (
    Module("kubernetes", cgo=False, extra=("./coredns",)),
    Module("runtime", cgo=True, tags="seccomp"),  # runc without it refuses every pod that has a seccomp profile
)


def kubernetes_version(go_mod: str) -> str:
    """The version that the module pins: it stands nowhere else."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise RefusedError("tests/cluster/go/kubernetes/go.mod does not require k8s.io/kubernetes")
    return found.group(1)


def cache_key(sources: Path, machine: str, recipe: str = RECIPE) -> str:
    """Hash of everything that the programs are made from; the same inputs are never built twice."""
    digest = hashlib.sha256(f"{recipe}\0{machine}\0".encode())
    for path in sorted(path for path in sources.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(sources).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def programs(layout: Layout) -> Path:
    """Folder of the programs, whether they are built or not."""
    return layout.cache / cache_key(SOURCES, platform.machine()) / "bin"


def ensure(layout: Layout) -> Path:
    """Build what is missing; a second builder waits for the first and finds the work done."""
    folder = programs(layout)
    if folder.exists():
        return folder
    layout.cache.mkdir(parents=True, exist_ok=True)
    with (layout.cache / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build is running; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _build(layout, folder)
    return folder


def _build(layout: Layout, folder: Path) -> None:
    host.require_commands(host.BUILD, host.BUILD_LIBRARIES)
    go = toolchain.find(layout, toolchain.required([SOURCES / module.name / "go.mod" for module in MODULES]))
    fresh = folder.parent.with_name(f"{folder.parent.name}.tmp")
    shutil.rmtree(fresh, ignore_errors=True)  # what an interrupted build left
    (fresh / "bin").mkdir(parents=True)
    began = time.monotonic()
    say("building Kubernetes, etcd, CoreDNS, containerd and runc once: about ten minutes on two cores")
    for module in MODULES:
        _install(go, module, fresh / "bin")
    (fresh / "bin" / "server").rename(fresh / "bin" / "etcd")  # what etcd's main package is called
    pause.build(SOURCES / "pause" / "pause.c", fresh / "bin" / "pause.tar")
    fresh.rename(folder.parent)
    say(f"built in {time.monotonic() - began:.0f} s, kept in {folder}")


def _install(go: Path, module: Module, target: Path) -> None:
    env = {
        **os.environ,
        "GOBIN": str(target),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
        "CGO_ENABLED": "1" if module.cgo else "0",
        # pip's folder of launchers or a bare one: compilers are looked up on the caller's PATH
        "PATH": f"{go.parent}:{os.environ.get('PATH', os.defpath)}",
    }
    command = [str(go), "install", "-v", *module.flags(), "tool", *module.extra]
    building = subprocess.Popen(
        command, cwd=SOURCES / module.name, env=env, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    assert building.stderr is not None
    kept = progress(module.name, building.stderr)
    if building.wait() != 0:
        raise RefusedError(f"building {module.name} failed:\n{''.join(kept[-30:])}")


def progress(name: str, lines: Iterable[str]) -> list[str]:
    """Show a running count of downloads and packages (every ten seconds where no terminal looks on)."""
    kept: list[str] = []
    counts = {"downloaded": 0, "compiled": 0}
    terminal, shown = sys.stderr.isatty(), time.monotonic()
    for line in lines:
        kept.append(line)
        counts["downloaded" if line.startswith("go: downloading") else "compiled"] += 1
        text = f"onenode: {name}: {counts['downloaded']} modules downloaded, {counts['compiled']} packages compiled"
        if terminal:
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - shown >= 10:
            shown = time.monotonic()
            print(text, file=sys.stderr, flush=True)
    if terminal:
        print(file=sys.stderr)
    say(f"{name}: {counts['compiled']} packages compiled and linked")
    return kept
