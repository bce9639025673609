"""OOM: whether the kernel killed a process for memory, by the counters of this container's cgroup.

A process that the OOM killer ended looks like any other that got SIGKILL; only the cgroup's counter shows which it
was.
(Where the kubelet sets `memory.oom.group`, the supervisor dies too, and the pod's own status says OOMKilled.)
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def kills(root: Path = ROOT, self_cgroup: Path = Path("/proc/self/cgroup")) -> int:
    """Return how many processes of this cgroup the OOM killer has killed; 0 if that is unknown."""
    for file in _candidates(root, self_cgroup, v2="memory.events", v1="memory.oom_control"):
        for line in _lines(file):
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def limit(root: Path = ROOT, self_cgroup: Path = Path("/proc/self/cgroup")) -> str:
    """Return the memory limit in words, or an empty string."""
    found = limit_bytes(root, self_cgroup)
    return f"{found / 2**20:.0f} MiB" if found else ""


def limit_bytes(root: Path = ROOT, self_cgroup: Path = Path("/proc/self/cgroup")) -> int:
    """Return the memory limit in bytes; 0 if there is none."""
    for file in _candidates(root, self_cgroup, v2="memory.max", v1="memory.limit_in_bytes"):
        for line in _lines(file):
            if line.isdigit() and int(line) < 2**60:
                return int(line)
    return 0


def _candidates(root: Path, self_cgroup: Path, *, v2: str, v1: str) -> list[Path]:
    """Files to look at: with a cgroup namespace the root is the container's own, else its path is in /proc."""
    files = []
    for line in _lines(self_cgroup):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            files.append(root / path.lstrip("/") / v2)
        elif "memory" in controllers.split(","):
            files.append(root / "memory" / path.lstrip("/") / v1)
    return [*files, root / v2, root / "memory" / v1]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
