"""The pause image, made without an image builder: one static program in one layer."""

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
import tempfile
from pathlib import Path

from .layout import PAUSE_IMAGE, RefusedError

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def build(source: Path, archive: Path) -> None:
    """Compile pause.c and write it as an OCI archive."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "pause"
        done = subprocess.run(
            ["gcc", "-Os", "-static", "-s", "-o", str(program), str(source)], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RefusedError(f"compiling {source.name} failed (is libc6-dev installed?):\n{done.stderr.strip()}")
        archive.write_bytes(oci_archive(program.read_bytes()))


def oci_archive(program: bytes) -> bytes:
    """An OCI image layout as a tar file: /pause, run as nobody."""
    layer = _tar({"pause": program}, mode=0o755)
    blobs: dict[str, bytes] = {}

    def descriptor(kind: str, content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", json.dumps(config).encode()),
        "layers": [descriptor("layer.v1.tar+gzip", gzip.compress(layer, mtime=0))],
    }
    named = descriptor("manifest.v1+json", json.dumps(manifest).encode())
    named["annotations"] = {"io.containerd.image.name": PAUSE_IMAGE}
    index = json.dumps({"schemaVersion": 2, "manifests": [named]}).encode()
    return _tar({"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, **blobs}, mode=0o644)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()
