"""Scratch: where the files of a query lie that no store has yet, and what to say when it is full."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from pathlib import Path

from gpuquery.api.labels import SCRATCH_DIRECTORY
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures import native
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.words import said

LITTLE_BYTES = 1 << 20
"""With less free than this, a file that broke off is taken for one that found no room."""


def root() -> Path:
    """Return the scratch volume, or where there is none the folder for temporary files."""
    volume = Path(SCRATCH_DIRECTORY)
    return volume if volume.is_dir() and os.access(volume, os.W_OK) else Path(tempfile.gettempdir())


class Scratch:
    """The folders of one rank. Its methods may be called from any thread."""

    def __init__(self, attempt: int, rank: int) -> None:
        self._prefix = f"gpuquery-{attempt}-{rank:05d}-"
        self._lock = threading.Lock()
        self._folders: list[Path] = []

    def folder(self) -> Path:
        """Make an empty folder; raises JobError(ScratchFull)."""
        try:
            made = Path(tempfile.mkdtemp(prefix=self._prefix, dir=root()))
        except OSError as exc:
            raise full(exc) or JobError(
                Failure.INTERNAL_ERROR, f"cannot make a folder in {root()}: {exc.strerror}"
            ) from exc
        with self._lock:
            self._folders.append(made)
        return made

    def remove(self) -> None:
        """Remove all folders; what is still being written there may stay."""
        with self._lock:
            folders, self._folders = self._folders, []
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def full(exc: BaseException) -> JobError | None:
    """Return ScratchFull, with the limit, for an exception that says so; None for any other."""
    seen: BaseException | None = exc
    for _ in range(10):
        if seen is None:
            break
        number = seen.errno if isinstance(seen, OSError) else None
        found = native.recognise(said(seen))
        if number in (errno.ENOSPC, errno.EDQUOT) or (found and found.failure is Failure.SCRATCH_FULL):
            return _told(str(getattr(seen, "filename", None) or ""))
        seen = seen.__cause__ or seen.__context__
    return None


def exhausted() -> JobError | None:
    """Return ScratchFull if there is next to nothing free; None else."""
    return _told("") if shutil.disk_usage(root()).free < LITTLE_BYTES else None


def _told(file: str) -> JobError:
    place = root()
    usage = shutil.disk_usage(place)
    writing = f" while {file} was written" if file else ""
    return JobError(
        Failure.SCRATCH_FULL,
        f"the scratch volume {place} of {usage.total / 2**30:.1f} GiB is full{writing}, with {usage.free / 2**30:.1f} "
        "GiB free: spilled data and files under way lie there; raise ephemeral-storage in workers.resources.limits, or "
        "use more pods",
    )
