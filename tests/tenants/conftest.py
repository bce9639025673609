"""One control plane for all tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bench.plane import Limits, control_plane
from tests.tenants.stage import USER, Server
from tools.kubectl import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The API server, with our kind."""
    folder = tmp_path_factory.mktemp("tenants") / "plane"
    with control_plane(folder, users=[USER], limits=Limits(), nodes=2, gpus=8) as plane:
        plane.cluster.run("apply", "--server-side", "-f", str(ROOT / "crds" / "gpuquery.io_gpuqueryjobs.yaml"))
        plane.cluster.run("wait", "--for=condition=Established", "crd/gpuqueryjobs.gpuquery.io", "--timeout=60s")
        yield Server(plane)
