"""What the probe of a large set costs: its dials once all pods have come, and a question from each pod to each.

All supervisors' listeners and probes are in one process here, with real sockets and handshakes, so the figures are the
sum over all pods: what one pod takes is that divided by their number.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import time
from pathlib import Path

from gpuquery.runner.coordination import probe as module
from gpuquery.runner.coordination.link import listen
from gpuquery.runner.coordination.listener import Identity, Listener
from gpuquery.runner.coordination.probe import Probe
from gpuquery.runner.coordination.settings import Settings
from tests.bench.rendezvous import resident
from tests.bench.setting import conditions

TOKEN = b"k" * 32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=64)
    pods = parser.parse_args().pods
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    load = os.getloadavg()[0]
    print(json.dumps({**asyncio.run(measured(pods)), "load_before": round(load, 2), **conditions()}))


async def measured(pods: int) -> dict[str, object]:
    """Connect all with all, have all ask all, and say what it took."""
    cut: list[tuple[int, int, str]] = []
    probes, peers, dials = [], {}, 0
    for index in range(1, pods):
        settings = Settings(Path(), index, pods, 1, f"pod-{index}", ("", 0), TOKEN)
        probe, sock = Probe(settings, str(index), lambda *words: cut.append(words)), listen(0)

        def admit(hello, link, address, probe=probe):  # type: ignore[no-untyped-def]
            nonlocal dials
            dials += 1
            return probe.admit(hello, link, address)

        await Listener(Identity(index, str(index), TOKEN), admit, print).open(sock)
        peers[index] = ("127.0.0.1", sock.getsockname()[1], str(index))
        probes.append(probe)
    module.MAX_DIALS = 1  # all pods' calls at a time would be more than one process can answer
    ways = (pods - 1) * (pods - 2) // 2
    before = resident(os.getpid())
    began, worked = time.monotonic(), time.process_time()
    for probe in probes:
        probe.meet(peers)
    while any(peer.link is None for probe in probes for peer in probe._peers.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    met, met_cpu = time.monotonic() - began, time.process_time() - worked
    memory = resident(os.getpid()) - before
    began, worked = time.monotonic(), time.process_time()
    for probe in probes:
        probe.ask()
    while any(peer.missed is not None for probe in probes for peer in probe._peers.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    asked, asked_cpu = time.monotonic() - began, time.process_time() - worked
    assert (dials, cut) == (ways, []), "each pod is called once by each of higher index"
    return {
        "bench": "probe",
        "pods": pods,
        "dials": dials,
        "dials_s": round(met, 2),
        "dial_cpu_ms": round(1000 * met_cpu / ways, 3),
        "connection_kib": round(1024 * memory / ways, 1),
        "question_s": round(asked, 3),
        "question_cpu_us": round(1e6 * asked_cpu / ways),
    }


if __name__ == "__main__":
    main()
