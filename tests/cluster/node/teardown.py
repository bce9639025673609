"""Everything away again, also after a starter that was killed half-way.

No record says what was started: this looks at processes, cgroups, mounts and links, and takes away what
carries the cluster's mark.
"""

import json
import shutil
import subprocess
import time
from pathlib import Path

from . import cgroup, network, process
from .layout import Layout, RefusedError

# Whoever starts others goes first: the kubelet restarts pods, containerd restarts shims.
ORDER = ("kubelet", "containerd")


def down(layout: Layout) -> list[str]:
    """Take the cluster away and say what there was; an empty list if there was nothing."""
    removed: list[str] = []
    began = process.of(layout)
    for part in (*ORDER, None):
        process.end_all(
            lambda part=part: [p.pid for p in process.of(layout) if part in (None, p.part)],
            lambda pid: (found := process.identify(pid)) is not None and found.folder == str(layout.state),
            part or "processes",
        )
        if part == ORDER[-1] and cgroup.remove():
            removed.append("pods and their cgroups")
    if began:
        removed.append(f"{len(began)} processes ({', '.join(sorted({p.part for p in began}))})")
    if count := unmount_below(layout.state):
        removed.append(f"{count} mounts")
    removed += network.remove()
    if layout.outside.exists():
        for folder in json.loads(layout.outside.read_text()):
            shutil.rmtree(folder, ignore_errors=True)
    if layout.state.exists():
        _remove_folder(layout.state)
        removed.append(f"folder {layout.state}")
    return removed


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """Mount points at or below a folder, the last mounted first."""
    points = [line.split()[4].encode().decode("unicode_escape") for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if point == str(folder) or point.startswith(f"{folder}/")]


def unmount_below(folder: Path) -> int:
    """Unmount everything below a folder; say how many mounts there were."""
    count = 0
    for _ in range(20):  # a mount over another shows only when the upper one has gone
        points = mounts_below(folder, Path("/proc/self/mountinfo").read_text())
        if not points:
            return count
        for point in points:
            done = subprocess.run(["umount", "--no-canonicalize", point], capture_output=True)
            if done.returncode != 0:
                subprocess.run(["umount", "--no-canonicalize", "--lazy", point], capture_output=True)
            count += 1
        time.sleep(0.05)
    raise RefusedError(f"cannot unmount {', '.join(mounts_below(folder, Path('/proc/self/mountinfo').read_text()))}")


def _remove_folder(folder: Path) -> None:
    """Remove the state folder; what is mounted in it is a refusal, never an `rm` through the mount."""
    if mounts_below(folder, Path("/proc/self/mountinfo").read_text()):
        raise RefusedError(f"something is still mounted below {folder}; it is left alone")
    shutil.rmtree(folder)
