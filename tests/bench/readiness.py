"""How long a set of ranks takes to be ready, against what its slowest process takes to import its packages.

Sets of pods of the real runtime with the engine for tests, whose communicator is the real one. Every process notes when
it was started, after how many seconds its packages were loaded and after how many it was connected to all others. The
clock runs from the start of the last process until the last one is connected; the reference is the longest import.
"""

from __future__ import annotations

import argparse
import json
import statistics
import urllib.request
from datetime import datetime
from typing import Any

from gpuquery.api.labels import PROGRESS_PORT
from tests.bench.setting import conditions, prepared
from tests.e2e import sets
from tests.e2e.jobs import Bench, condition, true


def measured(bench: Bench, pods: int) -> tuple[float, float]:
    """Run one set; returns seconds until it was ready, and of the longest import."""
    ranks = sets.started(bench, pods=pods, env={"TEST_ENGINE_PAUSE": "2"})
    ranks.reaches("running")
    with urllib.request.urlopen(f"http://{ranks.address(0)}:{PROGRESS_PORT}/v1/ranks", timeout=10) as answer:
        notes: list[dict[str, Any]] = [process["notes"] for process in json.load(answer)]
    job = bench.ended(ranks.name)
    assert true(job, "Complete"), condition(job, "Failed")
    started = [datetime.fromisoformat(note["started"]).timestamp() for note in notes]
    ready = max(begun + note["connected"] for begun, note in zip(started, notes, strict=True))
    return ready - max(started), max(note["loaded"] for note in notes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with prepared() as bench:
        measured(bench, arguments.pods)
        pairs = [measured(bench, arguments.pods) for _ in range(arguments.rounds)]
    ready, loaded = (statistics.median(x) for x in zip(*pairs, strict=True))
    result = {
        "bench": "readiness",
        "pods": arguments.pods,
        "ready_seconds": round(ready, 2),
        "longest_import_seconds": round(loaded, 2),
        "ratio": round(statistics.median(a / b for a, b in pairs), 2),
        "pairs": [[round(a, 2), round(b, 2)] for a, b in pairs],
        **conditions(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
