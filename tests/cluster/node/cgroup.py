"""The cluster's own cgroup: all pods live below it, so that no process of a pod outlives `down`."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from . import process
from .layout import CGROUP

MOUNTINFO = Path("/proc/self/mountinfo")


def hierarchies(mountinfo: str) -> list[tuple[str, Path]]:
    """Filesystem type (`cgroup` or `cgroup2`) and mount point of each cgroup hierarchy."""
    rows = (line.split(" - ", 1) for line in mountinfo.splitlines())
    return [(kind, Path(left.split()[4])) for left, right in rows if (kind := right.split()[0]).startswith("cgroup")]


def is_v2(mountinfo: str) -> bool:
    """Whether the kubelet will use cgroup v2: it asks what is mounted at /sys/fs/cgroup itself."""
    return ("cgroup2", Path("/sys/fs/cgroup")) in hierarchies(mountinfo)


def create() -> None:
    """Make the cgroup in every hierarchy; the kubelet refuses a root that misses one."""
    mountinfo = MOUNTINFO.read_text()
    for kind, mount in hierarchies(mountinfo):
        group = mount / CGROUP
        if kind == "cgroup2" and is_v2(mountinfo):
            _delegate(mount)
        group.mkdir(exist_ok=True)
        if kind == "cgroup2" and is_v2(mountinfo):
            _delegate(group)
        for knob in ("cpuset.cpus", "cpuset.mems"):  # v1 starts a cpuset empty, and then no task may enter
            if kind == "cgroup" and (group / knob).exists():
                (group / knob).write_text((mount / knob).read_text())


def _delegate(group: Path) -> None:
    """Let children of a v2 group use every controller that it has itself."""
    for controller in (group / "cgroup.controllers").read_text().split():
        with suppress(OSError):
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _groups() -> Iterator[Path]:
    """Every group of ours, children before their parents."""
    for _, mount in hierarchies(MOUNTINFO.read_text()):
        if (top := mount / CGROUP).is_dir():
            found = [top, *(path for path in top.rglob("*") if path.is_dir())]
            yield from sorted(found, key=lambda path: -len(path.parts))


def pids() -> set[int]:
    """Processes of all pods."""
    found: set[int] = set()
    for group in _groups():
        with suppress(OSError):
            found.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return found


def _is_inside(pid: int) -> bool:
    with suppress(OSError):
        return f":/{CGROUP}" in Path(f"/proc/{pid}/cgroup").read_text()
    return False


def remove() -> bool:
    """Kill what runs in pods and remove the groups; False if there were none."""
    if not list(_groups()):
        return False
    process.end_all(pids, _is_inside, "pods")
    for _ in range(50):  # a group stays busy for a moment after its last process has gone
        for group in _groups():
            with suppress(OSError):
                group.rmdir()
        if not list(_groups()):
            break
        time.sleep(0.05)
    return True
