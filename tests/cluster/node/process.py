"""Which processes are ours, and how to end exactly those.

Every process that the cluster starts carries the state folder in its environment, and its children inherit
it. So the process table itself is the record: no pid file can be half-written when `up` is killed, or name
a pid that meanwhile belongs to a stranger. Pods' processes get a clean environment from the container
runtime and are known by their cgroup instead (`cgroup.py`).
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .layout import Layout, RefusedError

FOLDER = "GPUQUERY_ONENODE_STATE"
PART = "GPUQUERY_ONENODE_PART"
PROC = Path("/proc")


@dataclass(frozen=True)
class Owned:
    """A running process that a cluster started, itself or through a child."""

    pid: int
    folder: str
    part: str
    command: str


def identify(pid: int, proc: Path = PROC) -> Owned | None:
    """Say which cluster and part a process belongs to; None for strangers, zombies and the already gone."""
    try:
        environ = (proc / str(pid) / "environ").read_bytes()
        command = (proc / str(pid) / "comm").read_text().strip()
    except OSError:
        return None
    pairs = dict(entry.split(b"=", 1) for entry in environ.split(b"\0") if b"=" in entry)
    if FOLDER.encode() not in pairs:
        return None
    return Owned(pid, os.fsdecode(pairs[FOLDER.encode()]), os.fsdecode(pairs.get(PART.encode(), b"")), command)


def owned(proc: Path = PROC) -> Iterator[Owned]:
    """Every process of every one-node cluster on this machine."""
    for entry in proc.iterdir():
        if entry.name.isdigit() and (found := identify(int(entry.name), proc)):
            yield found


def of(layout: Layout) -> list[Owned]:
    """Every process of this cluster."""
    return [found for found in owned() if found.folder == str(layout.state)]


def programs(layout: Layout) -> Path | None:
    """Folder of the programs that a running cluster was started from, which may be another version's."""
    for found in of(layout):
        with suppress(OSError):
            if found.part == found.command:
                return Path(f"/proc/{found.pid}/exe").readlink().parent
    return None


def end(pid: int, still_ours: Callable[[int], bool], sig: signal.Signals = signal.SIGKILL) -> None:
    """Signal a process, never its successor: the handle is taken first, ownership is checked under it."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if still_ours(pid):
            signal.pidfd_send_signal(handle, sig)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def end_all(pids: Callable[[], Iterable[int]], still_ours: Callable[[int], bool], what: str, limit: float = 20) -> None:
    """Kill until none is left: a process may fork while the list is walked."""
    deadline = time.monotonic() + limit
    while left := list(pids()):
        if time.monotonic() > deadline:
            raise RefusedError(f"{what}: processes {left} survive SIGKILL for {limit:.0f} s (stuck in the kernel?)")
        for pid in left:
            end(pid, still_ours)
        time.sleep(0.02)


@dataclass(frozen=True)
class Running:
    """A part that this run of `up` started."""

    part: str
    log: Path
    process: "subprocess.Popen[bytes]"

    def check(self) -> None:
        """Raise with the end of its log if the part has exited."""
        if (code := self.process.poll()) is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])
            raise RefusedError(f"{self.part} ended with exit code {code}; the end of {self.log}:\n{tail}")


def start(layout: Layout, part: str, command: Sequence[str], path: Path) -> Running:
    """Start one part in a session of its own, so that it outlives its starter."""
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith("KUBE")},
        "PATH": f"{path}:{os.environ.get('PATH', os.defpath)}",
        FOLDER: str(layout.state),
        PART: part,
    }
    log = layout.log(part)
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(path / command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=layout.state,
            env=env,
            start_new_session=True,
            umask=0o022,  # what the kubelet writes for pods must stay readable to their users
        )
    return Running(part, log, process)
