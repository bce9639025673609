"""How fast a set forms once everybody is there, and what a supervisor costs while nothing happens.

Sixty-four local processes with real clients under one supervisor (or under several, `--pods`), all waiting; the one
with the address comes last. The clock runs from its call of the gate until the last of the others has the address, on
one machine's clock. The processes are light: they import the client and nothing else. Then the supervisors are left
alone, and their resident memory and CPU time are read from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from tests.bench.setting import conditions
from tests.support.ranks import Set, until

ROUNDS = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--pods", type=int, default=1)
    parser.add_argument("--idle", type=float, default=30.0, help="seconds of the idle measurement")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        ranks = arguments.ranks // arguments.pods
        one = Set(Path(folder), arguments.pods, ranks, beat=120, program="tests.bench.rendezvous_rank", rounds=ROUNDS)
        try:
            one.start()
            marks = [one.folder / f"{index}.times" for index in range(arguments.ranks)]
            until(lambda: all(mark.exists() for mark in marks), 300, "the set did not form")
            times = [json.loads(mark.read_text()) for mark in marks]
            asked = [max(process[number][0] for process in times) for number in range(ROUNDS)]
            spread = [max(process[number][1] for process in times) - asked[number] for number in range(ROUNDS)]
            time.sleep(3)  # until what the start has left to do is done
            pids = [supervisor.process.pid for supervisor in one.supervisors.values()]
            before, began = [cpu(pid) for pid in pids], time.monotonic()
            time.sleep(arguments.idle)
            took = time.monotonic() - began
            used = [100 * (cpu(pid) - b) / took for pid, b in zip(pids, before, strict=True)]
            memory = [resident(pid) for pid in pids]
        finally:
            one.close()
    result = {
        "bench": "rendezvous",
        "ranks": arguments.ranks,
        "pods": arguments.pods,
        "address_ms_first": round(1000 * spread[0], 1),
        "address_ms_median": round(1000 * statistics.median(spread), 1),
        "address_ms_worst": round(1000 * max(spread), 1),
        "supervisor_rss_mib": round(max(memory), 1),
        "supervisor_cpu_percent": round(max(used), 3),
        "load_before": round(load, 2),
        **conditions(),
    }
    print(json.dumps(result))


def cpu(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(fields[0]) / 1e9


def resident(pid: int) -> float:
    """Return its resident memory in MiB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
