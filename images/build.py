#!/usr/bin/env python3
"""Build the project's images with buildah, and push them where a cluster pulls from.

    build.py build [NAME…]      operator, runtime, seaweedfs (all by default); nothing unchanged is built again
    build.py push [NAME…]       REGISTRY=… TAG=…: build under that name and push
    build.py names [NAME…]      the images' full names, for other programs

RELEASES="26.04 26.10" adds the runtimes of these RAPIDS releases to the default, for CUDA 12 or what CUDA=… says;
runtime-26.10-cu12 names one of them, and test-engine-26.10-cu12 the same with the engine for tests in it.
TEST_DASK_KUBERNETES=1 adds dask-kubernetes, the operator of that project, which tests and comparisons run.

The Containerfiles are ordinary ones. What this machine alone has (pip's settings, certificates, a base image where
none can be pulled) is handed in while building, so that neither the images nor the repository hold any of it.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import base
import machine

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("operator", "runtime", "seaweedfs")
ON_DEMAND = ("dask-kubernetes",)
WITHOUT_WHEEL = ("seaweedfs", *ON_DEMAND)
LABEL = "gpuquery.inputs"


def defaults(env: Mapping[str, str] = os.environ) -> list[str]:
    """What is built when nothing is named: the CPU's images, the runtimes of the releases that RELEASES lists, and the
    test engine on those of TEST_ENGINES, and with TEST_DASK_KUBERNETES that operator."""
    cuda = env.get("CUDA") or 12
    releases = [f"runtime-{release}-cu{cuda}" for release in env.get("RELEASES", "").split()]
    engines = [f"test-engine-{release}-cu{cuda}" for release in env.get("TEST_ENGINES", "").split()]
    return [*NAMES, *releases, *engines, *(ON_DEMAND if env.get("TEST_DASK_KUBERNETES") else ())]


def release_of(name: str) -> tuple[str, str] | None:
    """RAPIDS release and CUDA major version of an image's name; None for the others. Refuses what has no lock."""
    found = re.fullmatch(r"(?:runtime|test-engine)-(.+)-cu(\d+)", name)
    if found is None:
        return None
    if not (ROOT / lock_of(name)).exists():
        there = sorted(path.stem for path in (ROOT / "requirements" / "releases").glob("*.txt"))
        raise machine.RefusedError(f"no image {name}: RELEASES and CUDA can be {', '.join(there)}")
    return found[1], found[2]


def runtime_of(name: str) -> str:
    """The image that one with the test engine is made from; empty for the others."""
    return name.replace("test-engine-", "runtime-", 1) if name.startswith("test-engine-") else ""


def lock_of(name: str) -> str:
    """The locked requirements of an image, from the root."""
    name = runtime_of(name) or name
    if name.startswith("runtime-"):
        return f"requirements/releases/{name.removeprefix('runtime-')}.txt"
    return {
        "operator": "requirements/operator.txt",
        "runtime": "requirements/runner.txt",
        "dask-kubernetes": "requirements/dask-kubernetes.txt",
        "seaweedfs": "images/seaweedfs/requirements.txt",
    }[name]


def tag_of(name: str, env: Mapping[str, str] = os.environ) -> str:
    """Full name of an image: localhost/gpuquery-operator:dev unless REGISTRY and TAG say otherwise."""
    registry, tag = env.get("REGISTRY") or "localhost", env.get("TAG") or "dev"
    return f"{registry.rstrip('/')}/gpuquery-{name}:{tag}"


def build_arguments(name: str) -> dict[str, str]:
    """Build arguments that decide what an image is."""
    if runtime := runtime_of(name):
        return {"VERSION": version(), "RUNTIME": tag_of(runtime)}
    release = release_of(name)
    return {"VERSION": version(), **({"RELEASE": release[0], "CUDA": release[1]} if release else {})}


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


def inputs(name: str, arguments: Mapping[str, str], base_id: str, *, project: bool = True) -> str:
    """Hash of everything an image is made from, or with `project` off its packages alone."""
    own = sorted(path for place in (folder(name), *added(name)) for path in place.rglob("*") if path.is_file())
    own = [path for path in own if path.suffix != ".pyc"]
    shared = [ROOT / "images/dependencies.sh", ROOT / "images/project.sh", ROOT / lock_of(name)]
    digest = hashlib.sha256(f"{base_id}\0{sorted(arguments.items())}".encode())
    for path in own + shared + ([wheel()] if project and name not in WITHOUT_WHEEL else []):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def folder(name: str) -> Path:
    """Folder of an image's Containerfile."""
    if runtime_of(name):
        return ROOT / "images" / "test-engine"
    return ROOT / "images" / ("runtime" if release_of(name) else name)


def added(name: str) -> tuple[Path, ...]:
    """Further folders that an image holds."""
    return (ROOT / "tests" / "engine",) if runtime_of(name) else ()


def wheel() -> Path:
    """The wheel that `make_wheel` left."""
    return next((ROOT / "dist").glob("gpuquery-*.whl"))


def build_all(names: Sequence[str], bases: base.Bases) -> None:
    """Build images side by side: each is busy with one core at a time, unpacking, copying and hashing.

    What is made from another image comes after it.
    """
    if any(release_of(name) for name in names):
        bases = replace(bases, compiler=base.compiler(bases, os.environ))
    first = dict.fromkeys(runtime_of(name) or name for name in names)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for these in (first, [name for name in names if runtime_of(name)]):
            for done in [pool.submit(build, name, bases) for name in these]:
                done.result()


def build(name: str, bases: base.Bases) -> None:
    """Build one image unless an image of the same inputs has its name."""
    tag, arguments = tag_of(name), build_arguments(name)
    runtime = runtime_of(name)
    wanted = inputs(name, arguments, machine.label(tag_of(runtime), LABEL) if runtime else bases.identity)
    if machine.label(tag, LABEL) == wanted:
        machine.say(f"{tag}: nothing changed")
        return
    machine.say(f"{tag}: building")
    arguments["REVISION"] = revision()
    if not runtime:
        arguments |= {"BASE": bases.base, "BUILDER": bases.builder}
    if release_of(name) and not runtime:
        arguments["COMPILER"] = bases.compiler
        arguments["PACKAGES"] = packages(name, bases, arguments)
    elif name == "runtime":
        # buildah 1.28 does not see that the default is one of the stages.
        arguments["PACKAGES"] = "packages"
    bud(name, tag, wanted, arguments)
    machine.say(f"{tag}: built")


def packages(name: str, bases: base.Bases, arguments: Mapping[str, str]) -> str:
    """Name of the image of a release's packages, which a change of the project leaves as it is."""
    tag = f"localhost/gpuquery-packages-{name.removeprefix('runtime-')}:dev"
    wanted = inputs(name, build_arguments(name), bases.identity, project=False)
    if machine.label(tag, LABEL) != wanted:
        bud(name, tag, wanted, arguments, "--target", "packages")
    return tag


def bud(name: str, tag: str, wanted: str, arguments: Mapping[str, str], *more: str) -> None:
    """Run `buildah bud` on an image's Containerfile, lending it this machine's settings."""
    with tempfile.TemporaryDirectory() as lent:
        machine.buildah(
            "bud", "--layers", "--quiet", "--pull=false", *more,
            *machine.settings(Path(lent)),
            *(part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")),
            "--label", f"{LABEL}={wanted}",
            "--file", str(folder(name) / "Containerfile"),
            "--tag", tag,
            str(ROOT),
        )  # fmt: skip


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
    names = arguments.names or defaults()
    try:
        if unknown := [name for name in names if not release_of(name) and name not in (*NAMES, *ON_DEMAND)]:
            known = ", ".join((*NAMES, *ON_DEMAND))
            parser.error(f"unknown image: {', '.join(unknown)}; there are {known}, runtime-26.10-cu12 …")
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
        build_all(names, bases)
        if arguments.command == "push":
            for name in names:
                push(name)
    except machine.RefusedError as refusal:
        print(f"images: {refusal}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
