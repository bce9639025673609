"""Signs of work: what the kernel counts of a process, and of its pod's network. Raises OSError or ValueError."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENOUGH = 64 * 1024
"""Bytes per second over the network that tell of work."""
_TICKS = os.sysconf("SC_CLK_TCK")


def disk_bytes(proc: Path) -> int:
    """Return the bytes that a process has read from disks and written to them."""
    return sum(_io(proc)[name] for name in ("read_bytes", "write_bytes"))


def network_bytes(proc: Path, *, sent: bool = True) -> int:
    """Return the bytes that have come in over the network that a process sees, and those that went out."""
    total = 0
    for line in (proc / "net" / "dev").read_text().splitlines()[2:]:
        name, _, fields = line.partition(":")
        if name.strip() != "lo":
            counts = fields.split()
            total += int(counts[0]) + (int(counts[8]) if sent else 0)
    return total


def cpu_seconds(proc: Path) -> float:
    """Return the processor time of a process, and of its children that have ended."""
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    return sum(int(count) for count in fields[11:15]) / _TICKS


def group(leader: int, root: Path) -> Iterator[Path]:
    """Yield the folders of the processes of a process group below /proc; those that end meanwhile are left out."""
    for entry in root.iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == leader:
                yield entry


def _io(proc: Path) -> dict[str, int]:
    pairs = (line.split(": ") for line in (proc / "io").read_text().splitlines())
    return {name: int(count) for name, count in pairs}
