"""How dask-kubernetes comes onto a cluster of ours, and how its objects leave it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools import dask_kubernetes
from tools.kubectl import ROOT, Cluster


class Recorded(Cluster):
    """A cluster that answers `get` from a list and writes down what else it was asked."""

    items: list[dict[str, Any]]
    asked: list[tuple[str, ...]]

    @classmethod
    def of(cls, *items: dict[str, Any]) -> Recorded:
        made = cls(None, "localhost", "dev")
        made.__dict__.update(items=list(items), asked=[])
        return made

    def run(self, *arguments: str, **_: Any) -> str:
        self.asked.append(arguments)
        return "\n".join(f"crd/{k}.{dask_kubernetes.GROUP}" for k in dask_kubernetes.KINDS)

    def get(self, *arguments: str) -> Any:
        return {"items": self.items}


def dask_cluster(name: str, **metadata: Any) -> dict[str, Any]:
    return {"kind": "DaskCluster", "metadata": {"name": name, "namespace": "ns", **metadata}}


def test_the_lock_pins_the_release_and_its_hashes() -> None:
    version, *hashes = dask_kubernetes.locked().splitlines()
    assert version.startswith("dask-kubernetes==2026.3.0 ")
    assert hashes and all(line.strip().startswith("--hash=sha256:") for line in hashes)


def test_a_lock_without_it_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_kubernetes, "LOCK", ROOT / "requirements" / "operator.txt")
    with pytest.raises(SystemExit, match=r"requirements/operator\.txt does not pin dask-kubernetes: run `make lock`"):
        dask_kubernetes.locked()


def test_the_operator_runs_our_image_as_a_user_without_rights() -> None:
    found = dask_kubernetes.values(Cluster(None, "registry.example:5000/team", "v1"))
    assert found["image"] == {"name": "registry.example:5000/team/gpuquery-dask-kubernetes", "tag": "v1"}
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert found["podSecurityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_only_objects_that_are_being_deleted_lose_their_finalizers() -> None:
    held = {"finalizers": ["kopf.zalando.org/KopfFinalizerMarker"]}
    gone = {"deletionTimestamp": "2026-11-21T18:00:00Z"}
    cluster = Recorded.of(
        dask_cluster("kept", **held), dask_cluster("stuck", **held, **gone), dask_cluster("going", **gone)
    )
    dask_kubernetes.release_finalizers(cluster)
    patches = [asked for asked in cluster.asked if asked[0] == "patch"]
    assert [asked[2] for asked in patches] == ["stuck"]
    assert json.loads(patches[0][-1]) == {"metadata": {"finalizers": None}}
