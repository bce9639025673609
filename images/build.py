#!/usr/bin/env python3
"""Build the project's images with buildah, and push them where a cluster pulls from.

    build.py build [NAME…]      operator, runtime, seaweedfs (all by default); nothing unchanged is built again
    build.py push [NAME…]       REGISTRY=… TAG=…: build under that name and push
    build.py names [NAME…]      the images' full names, for other programs

The Containerfiles are ordinary ones. What this machine alone has (pip's settings, certificates, a base image where
none can be pulled) is handed in while building, so that neither the images nor the repository hold any of it.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import base
import machine

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("operator", "runtime", "seaweedfs")
WITHOUT_WHEEL = ("seaweedfs",)
LABEL = "gpuquery.inputs"


def tag_of(name: str, env: Mapping[str, str] = os.environ) -> str:
    """Full name of an image: localhost/gpuquery-operator:dev unless REGISTRY and TAG say otherwise."""
    registry, tag = env.get("REGISTRY") or "localhost", env.get("TAG") or "dev"
    return f"{registry.rstrip('/')}/gpuquery-{name}:{tag}"


def build_arguments(name: str, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Build arguments that a caller may set: a RAPIDS release is a requirements file."""
    chosen = {key: env[key] for key in ("FLAVOUR", "REQUIREMENTS") if name == "runtime" and env.get(key)}
    return {"VERSION": version(), **chosen}


def version() -> str:
    """The project's version; it stands in pyproject.toml only."""
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version = "))


def make_wheel() -> Path:
    """Build the project's wheel into dist/, with the tools of .venv where they are."""
    for old in (ROOT / "dist").glob("gpuquery-*.whl"):
        old.unlink()
    venv = ROOT / ".venv" / "bin" / "python"
    python = str(venv) if venv.exists() else sys.executable
    command = [python, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise machine.RefusedError(f"cannot build the wheel; `make venv` brings what it needs:\n{done.stderr.strip()}")
    return next((ROOT / "dist").glob("gpuquery-*.whl"))


def inputs(name: str, arguments: Mapping[str, str], base_id: str) -> str:
    """Hash of everything an image is made from."""
    requirements = {
        "operator": "requirements/operator.txt",
        "runtime": arguments.get("REQUIREMENTS", "requirements/runner.txt"),
        "seaweedfs": "images/seaweedfs/requirements.txt",
    }[name]
    files = [f"images/{name}/Containerfile", "images/dependencies.sh", "images/project.sh", requirements]
    digest = hashlib.sha256(f"{base_id}\0{sorted(arguments.items())}".encode())
    for path in [ROOT / file for file in files] + ([] if name in WITHOUT_WHEEL else [wheel()]):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def wheel() -> Path:
    """The wheel that `make_wheel` left."""
    return next((ROOT / "dist").glob("gpuquery-*.whl"))


def build(name: str, bases: base.Bases) -> None:
    """Build one image unless an image of the same inputs has its name."""
    tag, arguments = tag_of(name), build_arguments(name)
    wanted = inputs(name, arguments, bases.identity)
    if machine.label(tag, LABEL) == wanted:
        machine.say(f"{tag}: nothing changed")
        return
    machine.say(f"{tag}: building")
    arguments |= {"BASE": bases.base, "BUILDER": bases.builder, "REVISION": revision()}
    with tempfile.TemporaryDirectory() as folder:
        machine.buildah(
            "bud", "--layers", "--quiet", "--pull=false",
            *machine.settings(Path(folder)),
            *(part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")),
            "--label", f"{LABEL}={wanted}",
            "--file", str(ROOT / "images" / name / "Containerfile"),
            "--tag", tag,
            str(ROOT),
        )  # fmt: skip
    machine.say(f"{tag}: built")


def revision() -> str:
    """The commit, for the image's label."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=False, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def push(name: str) -> None:
    """Push one image to REGISTRY."""
    if not os.environ.get("REGISTRY"):
        raise machine.RefusedError("push needs REGISTRY=<host/folder>; the one-node cluster takes `make images-load`")
    machine.say(f"{tag_of(name)}: pushing")
    machine.buildah("push", "--quiet", tag_of(name))


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=("build", "push", "names", "wheel"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    names = arguments.names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown image: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    try:
        if arguments.command == "names":
            print(*(tag_of(name) for name in names), sep="\n")
            return 0
        if set(names) - set(WITHOUT_WHEEL):
            made = make_wheel()
        if arguments.command == "wheel":
            print(made)
            return 0
        machine.require()
        bases = base.choose(os.environ)
        for name in names:
            build(name, bases)
            if arguments.command == "push":
                push(name)
    except machine.RefusedError as refusal:
        print(f"images: {refusal}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
