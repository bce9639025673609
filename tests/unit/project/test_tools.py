"""Choosing a cluster: on purpose, or not at all."""

from __future__ import annotations

import os

import pytest

from tools.kubectl import chosen_cluster, parse_exports


def test_exports_of_one_line_are_read_and_path_is_extended() -> None:
    found = parse_exports(["# comment", "export KUBECONFIG=/x/admin.conf PATH=/x/bin:$PATH"])
    assert found == {"KUBECONFIG": "/x/admin.conf", "PATH": f"/x/bin:{os.environ['PATH']}"}


def test_a_context_without_a_registry_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXT", "kind-dev")
    monkeypatch.delenv("REGISTRY", raising=False)
    with pytest.raises(SystemExit, match="REGISTRY="):
        chosen_cluster()


def test_a_chosen_context_is_named_in_every_kubectl_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXT", "kind-dev")
    monkeypatch.setenv("REGISTRY", "registry.example/gpuquery")
    monkeypatch.setattr("shutil.which", lambda *_, **__: "/bin/kubectl")
    cluster = chosen_cluster()
    assert cluster.command("get", "pods")[:3] == ["/bin/kubectl", "--context", "kind-dev"]
    assert cluster.image("runtime") == "registry.example/gpuquery/gpuquery-runtime:dev"
