"""Images into the node, without a registry: only what the node does not have yet is copied."""

import hashlib
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
    with tempfile.TemporaryDirectory(dir=layout.state) as temporary:
        folder = Path(temporary)
        # Uncompressed: packing and unpacking a layer costs more than writing it. And no other form keeps it so.
        push = ["buildah", "push", "-q", "--format", "oci", "--disable-compression", name, f"dir:{folder}"]
        done = subprocess.run(push, capture_output=True, text=True, env={**os.environ, **BUILDAH_ENV})
        if done.returncode != 0:
            raise RefusedError(f"{name} is neither a file nor an image that buildah has: {done.stderr.strip()}")
        manifest = (folder / "manifest.json").read_bytes()
        layers = _missing(manifest, contents(layout, programs))
        archive = folder / "thin.tar"
        with tarfile.open(archive, "w") as tar:
            for path, content in _index(name, manifest).items():
                _add(tar, path, content)
            for digest in [json.loads(manifest)["config"]["digest"], *layers]:
                blob = digest.removeprefix("sha256:")
                tar.add(folder / blob, f"blobs/sha256/{blob}")
        ctr(layout, programs, "images", "import", str(archive))
        say(f"{name}: loaded ({archive.stat().st_size / 1e6:.1f} MB were new)")


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


def _missing(manifest: bytes, held: set[str]) -> list[str]:
    """Digests of an image's layers that the node lacks."""
    return [layer["digest"] for layer in json.loads(manifest)["layers"] if layer["digest"] not in held]


def _index(name: str, manifest: bytes) -> dict[str, bytes]:
    """The files that make a folder of blobs an OCI archive, by path."""
    digest = hashlib.sha256(manifest).hexdigest()
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": f"sha256:{digest}",
        "size": len(manifest),
        "annotations": {"io.containerd.image.name": name},
    }
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
        f"blobs/sha256/{digest}": manifest,
    }


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
