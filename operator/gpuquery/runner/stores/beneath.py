"""Opens files below a folder, and nothing outside of it.

Every writer of a table can put a link in place of one of its folders, at any moment. So a path is walked folder by
folder, each opened from the one before and never through a link, and every call uses the descriptor: what was checked
is what is used. The table's own folder may be reached through links; they are its owner's.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores.base import Stored, checked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_DEPTH = 8
"""Folders below a prefix that are listed; a runner makes two."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Without blocking: opening a named pipe in place of a file would wait for a writer."""


@contextlib.contextmanager
def parent(root: Path, key: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """Open the folder of a key; yields its descriptor and the key's last part. Raises UnsafeStore, OSError."""
    *folders, name = checked(key).split("/")
    if make:
        with contextlib.suppress(FileExistsError):
            root.mkdir(parents=True)
    here = _folder(root, root)
    try:
        for depth, folder in enumerate(folders, 1):
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=here)
            if _is_link(folder, here):
                raise _through(root, folders[:depth])
            below = _folder(folder, root.joinpath(*folders[:depth]), os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
        yield here, name
    finally:
        os.close(here)


@contextlib.contextmanager
def file(folder: int, name: str, flags: int) -> Iterator[int]:
    """Open a file of a folder by `flags`; yields its descriptor. Raises OSError."""
    descriptor = os.open(name, flags | _FILE, 0o666, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def status(folder: int, name: str) -> os.stat_result | None:
    """Return the status of a file of a folder; None if there is none, or if it is no plain file."""
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return found if stat.S_ISREG(found.st_mode) else None
    return None


def files(root: Path, prefix: str) -> Iterator[Stored]:
    """List the plain files below a folder, in no order; none if there is no such folder."""
    with contextlib.suppress(FileNotFoundError), parent(root, f"{prefix}.any") as (top, _):
        for place, folders, names, here in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            below = place[2:] + "/" if place != "." else ""
            if below.count("/") >= MAX_DEPTH:
                folders.clear()
            for name in names:
                if not name.startswith(".") and (found := status(here, name)) is not None:
                    yield Stored(f"{prefix}{below}{name}", found.st_size, found.st_mtime)


def check_free(root: Path, key: str) -> None:
    """Raise UnsafeStore if no plain file can come to be at a key, nor is there: something else is in its place."""
    with contextlib.suppress(FileNotFoundError), parent(root, key) as (folder, name):
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise _in_the_way(root / key, "no plain file", "a table has one, or none,")


def _folder(name: Path | str, path: Path, flags: int = 0, *, dir_fd: int | None = None) -> int:
    try:
        return os.open(name, _FOLDER | flags, dir_fd=dir_fd)
    except NotADirectoryError as exc:
        raise _in_the_way(path, "no folder", "a table has one") from exc


def _in_the_way(path: Path, what: str, wanted: str) -> JobError:
    return JobError(
        Failure.UNSAFE_STORE,
        f"{path} is {what}, and {wanted} there: no GpuQuery runner has made it. The table's owner should find out who "
        "did, and may then take it away; or set another output.uri",
    )


def _is_link(name: str, folder: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return False


def _through(root: Path, folders: list[str]) -> JobError:
    return JobError(
        Failure.UNSAFE_STORE,
        f"{root}/{'/'.join(folders)} is a symbolic link, and a table lies in one folder with all its parts: "
        "somebody may want to lead writers out of it. Put a folder in its place, or set output.uri to where it leads",
    )
