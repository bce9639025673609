"""The base image: the public one, one that the caller names, or one made from Debian's packages.

Made bases come in three: a small one that ships, without pip and apt, a builder that adds pip, and a compiler.
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import machine

PUBLIC = "docker.io/library/python:3.11-slim-bookworm"
SUITE = "bookworm"
SHIPPED = "python3,ca-certificates,tzdata,libstdc++6"
PACKAGES = {  # of the made images
    "base": SHIPPED,
    "builder": f"{SHIPPED},python3-pip",
    "compiler": "gcc",
}
EXCLUDED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")


@dataclass(frozen=True)
class Bases:
    """What images start from, and what their dependencies are installed with."""

    base: str
    builder: str
    compiler: str = ""
    """What has gcc, or apt-get to install it with. Few images need it."""

    @property
    def identity(self) -> str:
        """Changes when either does."""
        return f"{machine.image_id(self.base)} {machine.image_id(self.builder)}"


def made(kind: str) -> str:
    """Name of a made image. It tells the packages, so that checkouts with other ones leave each other's alone."""
    digest = hashlib.sha256(PACKAGES[kind].encode()).hexdigest()[:8]
    return f"localhost/gpuquery-{kind}:{SUITE}-{digest}"


def choose(env: Mapping[str, str]) -> Bases:
    """BASE (and BUILDER) if given; else the public image where it can be pulled; else one made here."""
    if given := env.get("BASE"):
        for image in {given, env.get("BUILDER") or given}:
            if not machine.image_id(image):
                machine.buildah("pull", "--quiet", image)
        return Bases(given, env.get("BUILDER") or given)
    if machine.image_id(PUBLIC):
        return Bases(PUBLIC, PUBLIC)
    own = Bases(made("base"), made("builder"))
    if machine.image_id(own.base) and machine.image_id(own.builder):
        return own
    if _pull(PUBLIC):
        return Bases(PUBLIC, PUBLIC)
    machine.say(f"{PUBLIC} cannot be pulled here: making a base from Debian's packages (BASE=… names another)")
    for kind in ("base", "builder"):
        _make(kind)
    return own


def compiler(bases: Bases, env: Mapping[str, str]) -> str:
    """COMPILER if given; else the builder, or one made here where the builder was made, too."""
    if given := env.get("COMPILER"):
        return given
    if bases.builder != made("builder"):
        return bases.builder
    if not machine.image_id(made("compiler")):
        _make("compiler")
    return made("compiler")


def _pull(image: str) -> bool:
    machine.say(f"pulling {image}")
    try:
        done = subprocess.run(
            ["buildah", "pull", "--quiet", image],
            check=False,
            env=machine.environment(),
            capture_output=True,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _make(kind: str) -> None:
    image, packages = made(kind), PACKAGES[kind]
    machine.say(f"{image}: from Debian {SUITE}: {packages}")
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    options.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "base.tar"
        command = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={packages}", *options, SUITE]
        done = subprocess.run([*command, str(archive)], check=False, capture_output=True, text=True, env={**os.environ})
        if done.returncode != 0:
            raise machine.RefusedError(f"mmdebstrap failed: {done.stderr.strip()[-2000:]}")
        working = machine.buildah("from", "scratch").strip()
        try:
            machine.buildah("add", "--quiet", working, str(archive))
            machine.buildah("config", "--cmd", "python3", working)
            machine.buildah("commit", "--quiet", working, image)
        finally:
            machine.buildah("rm", working)
