"""`make demo`: from nothing to a committed table, with every step in sight.

Cluster, images and data come first; then a GpuQueryJob is applied as a user would, its conditions are printed as they
flip, and the table is read back.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tools import lake as lakes
from tools.kubectl import ROOT, Cluster, chosen_cluster

NAMESPACE = "gpuquery-demo"
SYSTEM = "gpuquery-system"
RELEASE = "gpuquery"
EXAMPLE = ROOT / "examples" / "revenue-by-region.yaml"
TABLES = ("customer", "lineitem", "nation", "orders", "region")


def step(text: str) -> None:
    """Print the headline of a step."""
    print(f"\n==> {text}", flush=True)


def install(cluster: Cluster, *values: str) -> None:
    """Install or upgrade the operator with the images of this checkout."""
    settings = [f"image.repository={cluster.registry}/gpuquery-operator", f"image.tag={cluster.tag}"]
    settings += [f"runtime.image={cluster.image('runtime')}", *values]
    if identity := built(cluster.image("operator")):
        settings.append(f"podAnnotations.gpuquery\\.io/image-id={identity}")
    flags = [x for setting in settings for x in ("--set", setting)]
    chart = str(ROOT / "charts" / "gpuquery")
    if "STATUS: pending" in cluster.helm("status", RELEASE, "-n", SYSTEM, check=False):
        # An install that was interrupted holds helm's lock for ever. The CRD, and with it every job, is kept.
        cluster.helm("uninstall", RELEASE, "-n", SYSTEM)
    cluster.helm(
        "upgrade", "--install", RELEASE, chart, "-n", SYSTEM, "--create-namespace", "--take-ownership", "--wait", *flags
    )


def built(image: str) -> str:
    """Return the ID of an image that was built here, "" if none was: the tag alone does not tell a new build."""
    if shutil.which("buildah") is None:
        return ""
    command = ["buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", image]
    environment = {**os.environ, "STORAGE_DRIVER": "overlay"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment).stdout.strip()[:24]


def ensure_namespace(cluster: Cluster, name: str) -> None:
    """Make a namespace that enforces the restricted pod security level."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def generate(scale: float, folder: Path, *, tables: tuple[str, ...] = TABLES) -> None:
    """Write TPC-H tables as parquet, one folder a table."""
    tool = Path(sys.executable).parent / "tpchgen-cli"
    parts = max(1, round(scale * 4))
    for table in tables:
        command = [str(tool), "parquet", "-s", str(scale), f"--tables={table}", f"--output-dir={folder}"]
        if table in ("lineitem", "orders"):
            command.append(f"--parts={parts}")
        subprocess.run(command, check=True, capture_output=True)
        flat = folder / f"{table}.parquet"
        if flat.exists():
            (folder / table).mkdir(exist_ok=True)
            flat.rename(folder / table / flat.name)


def upload(lake: lakes.Lake, folder: Path, *, bucket: str = "lake", prefix: str = "tpch") -> int:
    """Copy a folder of parquet files into the store; returns the bytes."""
    client = lake.client()
    if bucket not in {b["Name"] for b in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=bucket)
    total = 0
    for path in sorted(folder.rglob("*.parquet")):
        client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder)}")
        total += path.stat().st_size
    return total


def has_tables(lake: lakes.Lake, scale: float) -> bool:
    """Whether the tables of this scale are in the store already."""
    try:
        lake.client().head_object(Bucket="lake", Key=f"tpch/.scale-{scale:g}")
    except Exception:
        return False
    return True


def follow(cluster: Cluster, name: str, *, namespace: str, timeout: float = 600) -> dict[str, Any]:
    """Print every condition as it flips until the job has ended; returns the job."""
    began, seen = time.monotonic(), {}
    while time.monotonic() - began < timeout:
        job: dict[str, Any] = cluster.get("gqj", name, "-n", namespace)
        conditions = job.get("status", {}).get("conditions", [])
        for condition in conditions:
            shown = (condition["status"], condition["reason"])
            if seen.get(condition["type"]) != shown:
                seen[condition["type"]] = shown
                text = f"{condition['type']}={condition['status']}"
                print(f"  {time.monotonic() - began:5.1f} s  {text:24} {condition['reason']}: {condition['message']}")
        if any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions):
            return job
        time.sleep(0.2)
    raise TimeoutError(f"{name} did not end within {timeout:.0f} s")


def show(lake: lakes.Lake, uri: str) -> None:
    """Read the committed table back with Polars and print it."""
    import polars as pl

    table = pl.scan_parquet(f"{uri}/data/**/*.parquet", hive_partitioning=True, storage_options=lake.options())
    print(table.sort("region", "year").collect())


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H scale factor (1 is about 350 MB)")
    arguments = parser.parse_args()
    cluster = chosen_cluster()

    step("the operator, by Helm")
    install(cluster)
    print(cluster.run("get", "deployment,pod", "-n", SYSTEM))

    step(f"an S3 server (SeaweedFS) in namespace {NAMESPACE}")
    ensure_namespace(cluster, NAMESPACE)
    lakes.deploy(cluster, NAMESPACE)
    with lakes.connected(cluster, NAMESPACE) as lake:
        if not has_tables(lake, arguments.scale):
            step(f"TPC-H data at scale factor {arguments.scale:g}, written into s3://lake/tpch/")
            with tempfile.TemporaryDirectory() as folder:
                generate(arguments.scale, Path(folder))
                print(f"  {upload(lake, Path(folder)) / 1e6:.0f} MB uploaded")
            lake.client().put_object(Bucket="lake", Key=f"tpch/.scale-{arguments.scale:g}", Body=b"")

        step(f"kubectl apply -f {EXAMPLE.relative_to(ROOT)}")
        cluster.run("delete", "gqj", "revenue-by-region", "-n", NAMESPACE, "--ignore-not-found", "--wait")
        print(cluster.run("apply", "--validate=strict", "-n", NAMESPACE, "-f", str(EXAMPLE)), end="")
        job = follow(cluster, "revenue-by-region", namespace=NAMESPACE)
        print()
        print(cluster.run("get", "gqj", "-n", NAMESPACE))
        if not any(c["type"] == "Complete" and c["status"] == "True" for c in job["status"]["conditions"]):
            print(cluster.run("describe", "gqj", "revenue-by-region", "-n", NAMESPACE))
            return 1

        step("the committed table, read back with Polars")
        show(lake, job["spec"]["output"]["uri"])
    goodbye(cluster)
    return 0


def goodbye(cluster: Cluster) -> None:
    """Say how to go on."""
    first = 'eval "$(make -s kubeconfig)"' if cluster.is_one_node else f"kubectl config use-context {cluster.context}"
    print(f"""
==> go on from here
  {first}
  kubectl -n {NAMESPACE} describe gqj revenue-by-region
  kubectl -n {NAMESPACE} apply --validate=strict -f examples/late-orders-python.yaml
  kubectl -n {NAMESPACE} wait --for=condition=Complete gqj/late-orders --timeout=5m
  kubectl explain gqj.spec
  make demo-down        # removes all of it""")


if __name__ == "__main__":
    sys.exit(main())
