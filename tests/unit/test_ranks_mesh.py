"""The mesh of a set: what a pod makes of peers that have gone."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from gpuquery.runner.ranks import proof
from gpuquery.runner.ranks.loop import Link, Loop
from gpuquery.runner.ranks.mesh import Mesh
from gpuquery.runner.ranks.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_pod_that_is_done_parts_from_peers_though_one_has_gone_already(tmp_path: Path) -> None:
    """It learns of it as it says goodbye, and must not fail over that: its work is committed."""
    loop = Loop()
    mesh = Mesh(Settings(tmp_path, 1, 1, 4, "pod-1", ("", 0), b""), loop, "me", lambda *_: None)
    mesh.meet({2: ("10.0.0.2", 8081, "two"), 3: ("10.0.0.3", 8081, "three")})
    theirs = {}
    for index, incarnation in ((2, "two"), (3, "three")):
        ours, theirs[index] = socket.socketpair()
        hello = proof.Hello("peer", index, 1, incarnation, proof.nonce(), f"pod-{index}", 8081)
        assert mesh.admit(hello, Link(loop, ours), "") is None
    theirs[2].close()
    mesh.close()
    got = b"".join(iter(lambda: theirs[3].recv(4096), b""))
    assert b'"bye"' in got, "the other one is told, and then hears the end"
    theirs[3].close()
