"""Images into the node, without a registry: only what the node does not have yet is copied."""

import io
import json
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from . import host
from .host import say
from .layout import Layout, RefusedError

BUILDAH_ENV = {"STORAGE_DRIVER": "overlay"}


def ctr(layout: Layout, programs: Path, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run ctr in the namespace that the kubelet looks in."""
    command = [str(programs / "ctr"), "-a", str(layout.containerd_socket), "-n", "k8s.io", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RefusedError(f"`ctr {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done


def load(layout: Layout, programs: Path, source: str) -> None:
    """Load an archive (a path) or an image of buildah's storage (a name)."""
    if Path(source).is_file():
        load_archive(layout, programs, Path(source))
    else:
        _load_from_buildah(layout, programs, source)


def load_archive(layout: Layout, programs: Path, archive: Path) -> None:
    """Load an archive as it is."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("index.json") if "index.json" in tar.getnames() else None
        index = json.load(member) if member else {"manifests": []}
    wanted = {named: entry["digest"] for entry in index["manifests"] if (named := _name(entry))}
    held = digests(layout, programs)
    if wanted and all(held.get(name) == digest for name, digest in wanted.items()):
        say(f"{', '.join(wanted)}: already on the node")
        return
    ctr(layout, programs, "images", "import", str(archive.resolve()))
    say(f"{', '.join(wanted) or archive.name}: loaded")


def _load_from_buildah(layout: Layout, programs: Path, name: str) -> None:
    host.require_commands({"buildah": "buildah"})
    if (own := _buildah_id(name)) and own == _config_digest(layout, programs, name):
        say(f"{name}: already on the node")
        return
    folder = layout.cache / "images"  # one for all images and kept: a shared base is packed once
    folder.mkdir(parents=True, exist_ok=True)
    push = ["buildah", "push", "-q", "--disable-compression", name, f"oci:{folder}:{name}"]
    done = subprocess.run(push, capture_output=True, text=True, env={**os.environ, **BUILDAH_ENV})
    if done.returncode != 0:
        raise RefusedError(f"{name} is neither a file nor an image that buildah has: {done.stderr.strip()}")
    index = json.loads((folder / "index.json").read_text())
    _forget_unnamed(folder, index)
    entry = next(entry for entry in index["manifests"] if _name(entry) == name)
    entry["annotations"]["io.containerd.image.name"] = name
    blobs = _missing(folder, entry, contents(layout, programs))
    with tempfile.NamedTemporaryFile(dir=layout.state, suffix=".tar") as thin:
        with tarfile.open(fileobj=thin, mode="w") as tar:
            _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
            for blob in blobs:
                tar.add(blob, f"blobs/sha256/{blob.name}")
        thin.flush()
        ctr(layout, programs, "images", "import", thin.name)
    say(f"{name}: loaded ({sum(blob.stat().st_size for blob in blobs) / 1e6:.1f} MB were new)")


def _buildah_id(name: str) -> str | None:
    """ID of an image in buildah's storage, which is the digest of its config."""
    inspect = ["buildah", "inspect", "--type", "image", name]
    done = subprocess.run(inspect, capture_output=True, text=True, env={**os.environ, **BUILDAH_ENV})
    return f"sha256:{json.loads(done.stdout)['FromImageID']}" if done.returncode == 0 else None


def _config_digest(layout: Layout, programs: Path, name: str) -> str | None:
    """Digest of the config of an image on the node; a manifest's own digest changes with compression."""
    manifest = digests(layout, programs).get(name)
    if manifest is None:
        return None
    found = json.loads(ctr(layout, programs, "content", "get", manifest).stdout)
    return str(found["config"]["digest"]) if "config" in found else None


def _missing(folder: Path, entry: dict[str, Any], held: set[str]) -> list[Path]:
    """Blobs of an image that the node lacks; manifest and config always travel, they are small."""
    blobs = folder / "blobs" / "sha256"

    def path(digest: str) -> Path:
        return blobs / digest.removeprefix("sha256:")

    manifest = json.loads(path(entry["digest"]).read_text())
    layers = {layer["digest"] for layer in manifest["layers"]}
    return [path(d) for d in (entry["digest"], manifest["config"]["digest"], *sorted(layers - held))]


def _forget_unnamed(folder: Path, index: dict[str, Any]) -> None:
    """Delete blobs that no named image of a layout needs any more."""
    blobs = folder / "blobs" / "sha256"
    manifests = {entry["digest"] for entry in index["manifests"] if _name(entry)}
    needed = set(manifests)
    for digest in manifests:
        manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
        needed |= {manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    for blob in blobs.iterdir():
        if f"sha256:{blob.name}" not in needed:
            blob.unlink()


def digests(layout: Layout, programs: Path) -> dict[str, str]:
    """Manifest digest of every image on the node, by name."""
    rows = ctr(layout, programs, "images", "ls").stdout.splitlines()[1:]
    return {fields[0]: fields[2] for row in rows if len(fields := row.split()) > 2}


def contents(layout: Layout, programs: Path) -> set[str]:
    """Digests of all blobs on the node."""
    return set(ctr(layout, programs, "content", "ls", "-q").stdout.split())


def _name(entry: dict[str, Any]) -> str | None:
    notes = entry.get("annotations", {})
    name: str | None = notes.get("io.containerd.image.name") or notes.get("org.opencontainers.image.ref.name")
    return name


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
