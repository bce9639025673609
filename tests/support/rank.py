"""A rank process that is light: it goes the way of an attempt, leaves its marks, and misbehaves when it is told to.

The environment's STAND_IN is JSON: `folder` for the marks `<index>.<moment>`, which hold the process id; `hold`, a
moment at which all wait for the file `go`; `fault`, `{"<index>": [moment, kind]}`; `inputs`, the tables that index 0
tells of.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from gpuquery.runner.coordination.client import Client
from gpuquery.runner.failures.errors import JobError

MOMENTS = ("start", "up", "joined", "running", "staged", "committing", "done")
UNTIL_SECONDS = 120


class Rank:
    """This process."""

    def __init__(self, report: Path) -> None:
        self.told = json.loads(os.environ["STAND_IN"])
        self.folder = Path(self.told["folder"])
        self.report = report
        self.client: Client | None = None
        self.told_to_stop = threading.Event()
        self.name = f"{os.environ['JOB_COMPLETION_INDEX']}-{os.environ.get('CUDA_VISIBLE_DEVICES', '')}"

    def tell(self, **report: object) -> None:
        with self.report.open("a") as file:
            file.write(json.dumps(report) + "\n")

    def reach(self, moment: str) -> None:
        index = self.client.index if self.client else self.name
        mark = self.folder / f".{index}.{moment}"
        mark.write_text(str(os.getpid()))
        mark.rename(self.folder / f"{index}.{moment}")
        at, kind = self.told.get("fault", {}).get(str(index), (None, ""))
        if at == moment:
            self.misbehave(kind)
        if self.told.get("hold") == moment:
            deadline = time.monotonic() + UNTIL_SECONDS
            while not (self.folder / "go").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            (self.folder / f"{index}.{moment}.left").touch()

    def misbehave(self, kind: str) -> None:  # noqa: PLR0912
        match kind:
            case "exit":
                print("the last line before the end", flush=True)
                sys.exit(3)
            case "abort":
                print("terminate called after throwing 'std::bad_thing'", file=sys.stderr, flush=True)
                os.abort()
            case "silent-exit":
                os._exit(0)
            case "fail":
                self.tell(failure="UserError", message="the query failed: no such column", warnings=["a remark"])
                threading.Event().wait()  # the store hangs, and it withdraws what it has staged
            case "hearsay":
                self.tell(failure="StorageUnavailable", message="the store is down", process=2)
                threading.Event().wait()
            case "transport":
                self.tell(failure="TransportError", message="UCX: connection reset by peer")
                os._exit(1)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
                threading.Event().wait()  # this thread may run on for a moment
            case "gil":
                ctypes.PyDLL(None).pause()  # holds the interpreter
            case "idle":
                assert self.client is not None
                for _ in range(5):  # it gets on for a while, and then no more
                    self.client.advance()
                    time.sleep(1)
                threading.Event().wait()
            case "orphan":
                subprocess.Popen(["sleep", "1000"], start_new_session=True)
                subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000"])
                os.abort()
            case "shout":
                for number in range(200_000):
                    os.write(1, b"line %d of what nobody reads\n" % number)
            case "absent":
                threading.Event().wait()


def main() -> None:
    """Go the way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--plan", type=Path)
    parser.add_argument("--report", type=Path)
    rank = Rank(parser.parse_args().report)
    signal.signal(signal.SIGTERM, lambda *_: stop(rank))
    rank.reach("start")
    client = rank.client = Client.inherited()
    assert client is not None
    seconds = float(rank.told.get("seconds", UNTIL_SECONDS))
    # As the query does, so that the main thread stays free for signals.
    thread = threading.Thread(target=lambda: work(rank, client, seconds), daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)


def work(rank: Rank, client: Client, seconds: float) -> None:
    """Go the way, from the moment that the supervisor is there."""
    try:
        steps(rank, client, seconds)
    except JobError as error:
        rank.tell(failure=str(error.failure), message=error.message)
        os._exit(1)
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)


def steps(rank: Rank, client: Client, seconds: float) -> None:
    client.progress(b'{"phase": "planning"}')
    rank.reach("up")
    addresses = client.gate("address", f"address of {client.index}", seconds=seconds)
    assert addresses == [f"address of {index}" for index in range(client.size)]
    client.note(rank=client.size - client.index - 1, gpu=f"GPU-{os.environ.get('CUDA_VISIBLE_DEVICES', '-')}")
    client.joined()
    rank.reach("joined")
    client.gate("plan", "x" * int(rank.told.get("bytes", 10)), seconds=seconds)
    running = {"phase": "running", "rows": 10, "bytes": 100, "files": 1}
    tables = {"inputs": rank.told["inputs"]} if "inputs" in rank.told and client.index == 0 else {}
    client.progress(json.dumps(running | tables).encode())
    client.note(spilled_bytes=5, gpu_memory_peak=client.index, gpu_utilization=50)
    client.advance()
    rank.reach("running")
    client.gate("staged", {"rows": 10}, seconds=seconds)
    rank.reach("staged")
    if client.index == 0:
        if rank.told.get("late"):  # it begins to commit, and its supervisor hears of that after the order to stop
            rank.told_to_stop.wait(UNTIL_SECONDS)
        client.progress(json.dumps({"phase": "committing", "rows": 10, "bytes": 100, "files": 1}).encode())
        rank.reach("committing")
        time.sleep(float(rank.told.get("late", 0)))
        client.progress(json.dumps({"phase": "done", "rows": 10, "bytes": 100, "files": 1}).encode())
        output = {"uri": "file:///out", "version": 1, "files": 1, "rows": 10, "bytes": 100, "partitions": 1}
    client.gate("done", seconds=seconds)
    rank.reach("done")
    rank.tell(**({"committed": output} if client.index == 0 else {"done": True}))
    client.close()
    os._exit(0)


def stop(rank: Rank) -> None:
    """Obey, but for a commit that has begun."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    rank.told_to_stop.set()
    if rank.told.get("late") and rank.client is not None and rank.client.index == 0:
        return
    if rank.client is not None and (rank.folder / "0.committing").exists() and rank.client.index == 0:
        return
    rank.tell(failure="WorkerLost", message="stopped by SIGTERM")
    os._exit(1)


if __name__ == "__main__":
    main()
