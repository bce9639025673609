"""A process of `tests.bench.rendezvous`: passes barriers, and writes when it came and when it had the address."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

from gpuquery.runner.coordination.client import Client


def main() -> None:
    """Pass the barriers, then wait."""
    told = json.loads(os.environ["STAND_IN"])
    client = Client.inherited()
    assert client is not None
    times = []
    for number in range(told["rounds"]):
        client.gate(f"ready {number}", seconds=300)
        if client.index == 0:
            time.sleep(0.3)  # until all others wait at the next
        came = time.monotonic()
        client.gate(f"address {number}", "a" * 300 if client.index == 0 else None, seconds=300)
        times.append((came, time.monotonic()))
    mark = Path(told["folder"], f".{client.index}.times")
    mark.write_text(json.dumps(times))
    mark.rename(Path(told["folder"], f"{client.index}.times"))
    threading.Event().wait()


if __name__ == "__main__":
    main()
