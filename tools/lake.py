"""An object store in the cluster, for the demo and the tests: SeaweedFS, with credentials made up on the spot."""

from __future__ import annotations

import base64
import json
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tools.kubectl import Cluster, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

MANIFEST = Path(__file__).with_name("seaweedfs.yaml")
SECRET = "lake-credentials"  # noqa: S105
PORT = 8333


@dataclass(frozen=True)
class Lake:
    """One store: where pods reach it, where this process reaches it, and with which key."""

    namespace: str
    access_key: str
    secret_key: str
    host: str

    @property
    def endpoint(self) -> str:
        """URL for pods of the same cluster."""
        return f"http://lake.{self.namespace}.svc:{PORT}"

    def client(self) -> S3Client:
        """Return an S3 client for this process."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.host}",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 10, "mode": "standard"}),
        )

    def options(self) -> dict[str, Any]:
        """Return Polars' storage_options for this process."""
        return {
            "aws_endpoint_url": f"http://{self.host}",
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
            "aws_virtual_hosted_style_request": "false",
        }

    def credentials(self) -> dict[str, Any]:
        """Return the Secret that jobs name in `storage.secretName`."""
        data = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": data}


def deploy(cluster: Cluster, namespace: str) -> None:
    """Bring the store up in a namespace, or leave the one that is there alone."""
    if "NotFound" in cluster.run("get", "secret", "lake-server", "-n", namespace, check=False):
        key, secret = secrets.token_hex(10), secrets.token_hex(20)
        identities = [
            {
                "name": "lake",
                "credentials": [{"accessKey": key, "secretKey": secret}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
        config = {"s3.json": json.dumps({"identities": identities})}
        server = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lake-server"}, "stringData": config}
        cluster.apply(server, namespace=namespace)
    text = MANIFEST.read_text().replace("${IMAGE}", cluster.image("seaweedfs"))
    cluster.apply(*yaml.safe_load_all(text), namespace=namespace)
    cluster.run("rollout", "status", "deployment/lake", "-n", namespace, "--timeout=180s", timeout=200)


@contextmanager
def connected(cluster: Cluster, namespace: str) -> Iterator[Lake]:
    """Yield the store of a namespace, reachable from this process, with the credentials Secret applied beside it."""
    config = cluster.get("secret", "lake-server", "-n", namespace)["data"]["s3.json"]
    pair = json.loads(base64.b64decode(config))["identities"][0]["credentials"][0]
    with reachable(cluster, namespace) as host:
        lake = Lake(namespace, pair["accessKey"], pair["secretKey"], host)
        cluster.apply(lake.credentials(), namespace=namespace)
        wait_until(lambda: _answers(lake), timeout=60, what="the object store's first answer")
        yield lake


@contextmanager
def reachable(cluster: Cluster, namespace: str) -> Iterator[str]:
    """Yield `host:port` of the store: its cluster address where this machine is the node, else a forwarded port."""
    if cluster.is_one_node:
        yield f"{cluster.get('service', 'lake', '-n', namespace)['spec']['clusterIP']}:{PORT}"
    else:
        with cluster.forwarded("service/lake", PORT, namespace=namespace) as host:
            yield host


def _answers(lake: Lake) -> bool:
    try:
        lake.client().list_buckets()
    except Exception:
        return False
    return True
