"""The runtime images of RAPIDS releases, each in a pod without a GPU: what a preflight needs works, and nothing is fat.

The pods are as restricted as the operator's. `make test` builds the images of RELEASES; others are tested by naming
them there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gpuquery.api.labels import NO_DRIVER_DIRECTORY
from tests.e2e.conftest import NAMESPACE
from tools import demo
from tools.kubectl import Cluster, wait_until
from tools.lock_releases import lock_file, locked

RELEASES = os.environ.get("RELEASES", "26.04 26.10").split()
CUDA = int(os.environ.get("CUDA", "12"))
BUDGET = {12: 2_100_000_000, 13: 2_500_000_000}
"""Bytes of an image's files, by CUDA major version."""
LARGER = dict.fromkeys(("25.08", "25.10", "25.12", "26.02", "26.08"), 2_300_000_000)
"""Releases whose packages for CUDA 12 alone take more, all of them superseded."""
PROBE = Path(__file__).with_name("release_probe.py")


def pod(name: str, image: str, *command: str, env: dict[str, str]) -> dict[str, Any]:
    """Build a pod that is as restricted as the operator's and has no GPU."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "command": list(command),
                    "env": [{"name": key, "value": value} for key, value in env.items()],
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def run(cluster: Cluster, name: str, image: str, code: str, env: dict[str, str]) -> tuple[str, str]:
    """Run Python code in a pod until it ends; returns the pod's phase and what it printed."""
    cluster.run("delete", "pod", name, "-n", NAMESPACE, "--ignore-not-found")
    cluster.apply(pod(name, image, "python", "-c", code, env=env))
    try:

        def ended() -> bool:
            return cluster.get("pod", name, "-n", NAMESPACE)["status"].get("phase") in ("Succeeded", "Failed")

        wait_until(ended, what=f"pod {name} to end", every=0.5)
        phase = cluster.get("pod", name, "-n", NAMESPACE)["status"]["phase"]
        return phase, cluster.run("logs", name, "-n", NAMESPACE)
    finally:
        cluster.run("delete", "pod", name, "-n", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module", params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """One release whose image was built."""
    return str(request.param)


@pytest.fixture(scope="module")
def found(cluster: Cluster, release: str) -> Any:
    """What the probe found in the release's image, as a preflight pod would run it."""
    demo.ensure_namespace(cluster, NAMESPACE)
    image = cluster.image(f"runtime-{release}-cu{CUDA}")
    name = f"probe-{release.replace('.', '-')}"
    phase, output = run(cluster, name, image, PROBE.read_text(), {"LD_LIBRARY_PATH": NO_DRIVER_DIRECTORY})
    assert phase == "Succeeded", output
    return json.loads(output.splitlines()[-1])


def test_all_that_an_engine_needs_is_imported_without_a_gpu(found: dict[str, Any]) -> None:
    assert list(found["imports"]) == [
        "cudf_polars", "ucxx", "rapidsmpf", "rapidsmpf.communicator.ucxx", "distributed_ucxx", "dask_cuda",
    ]  # fmt: skip


def test_every_module_of_the_runner_is_imported_with_the_polars_of_the_release(found: dict[str, Any]) -> None:
    assert "gpuquery.runner.main" in found["runner"]
    assert len(found["runner"]) > 30


def test_ucx_has_its_transports(found: dict[str, Any]) -> None:
    assert found["echo"]


def test_a_query_is_translated_and_what_no_gpu_can_run_is_named(found: dict[str, Any]) -> None:
    assert found["unsupported"]["supported"] == []
    (finding,) = found["unsupported"]["unsupported"]
    assert "ewm" in finding.lower()


def test_the_image_holds_what_the_lock_says(found: dict[str, Any], release: str) -> None:
    pins = locked(lock_file(release, CUDA))
    assert found["versions"] == {"cudf-polars": pins[f"cudf-polars-cu{CUDA}"], "polars": pins["polars"]}


def test_the_pod_is_nobody_and_cannot_change_the_image(found: dict[str, Any]) -> None:
    assert found["user"] == 65532
    assert not found["writable"]


def test_the_image_stays_within_its_budget(found: dict[str, Any], release: str) -> None:
    budget = max(BUDGET[CUDA], LARGER.get(release, 0))
    assert found["image"] <= budget, f"{found['image'] / 1e9:.2f} GB; see images/runtime/trim.sh"


def test_only_26_04_needs_the_stand_in_for_the_drivers_library(cluster: Cluster, release: str) -> None:
    image, name = cluster.image(f"runtime-{release}-cu{CUDA}"), f"no-driver-{release.replace('.', '-')}"
    phase, output = run(cluster, name, image, "import cudf_polars, ucxx, rapidsmpf.communicator.ucxx", {})
    assert (phase, "librapidsmpf.so" in output) == (("Failed", True) if release == "26.04" else ("Succeeded", False))
