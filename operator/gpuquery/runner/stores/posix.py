"""Files of this machine, and tables in them: an upload is a temporary file, completing it is a rename, and a hard link
creates exclusively.

Temporary files are below _staging/ on the same file system, so a rename is atomic and readers of data/ never see them.
A commit survives a loss of power: files are synced before the record that names them is written.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.stores import beneath
from gpuquery.runner.stores.base import (
    STAGING,
    Backend,
    Dangling,
    Files,
    Found,
    Location,
    Part,
    Piece,
    Store,
    Stored,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from gpuquery.plan.plan import StoreAccess

T = TypeVar("T")

MAX_COMPONENT_BYTES = 255
MAX_PATH_BYTES = 4095
LOCK_PATIENCE = 60.0
"""Seconds for which others may hold a lock that is let go within milliseconds."""
TEMPORARY = ".tmp"
_OWN = re.compile(r"\.[0-9a-f]{8}\.tmp")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class Posix(Backend, Files):
    """Files of this machine, with or without file:// before their paths."""

    example = "file:///folder"

    def locate(self, uri: str) -> Location | None:
        """Split `file:///path`."""
        path = uri.removeprefix("file://")
        return Location(uri.rstrip("/"), "", path.rstrip("/") or "/") if path != uri and path[:1] == "/" else None

    def source(self, uri: str) -> str:
        """Leave out the scheme: the GPU engines of some releases read no file:// URI."""
        return uri.removeprefix("file://")

    def files(self, uri: str, access: StoreAccess) -> Files:
        """All files are read alike, one after the other."""
        return self

    def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """Ask the file system."""
        try:
            return {path: os.stat(self.source(path)).st_size for path in paths}
        except OSError as exc:
            raise classify(exc, "looking at the inputs") from exc

    def below(self, prefix: str, *, deep: bool = True) -> Iterator[Sequence[Found]]:
        """Walk the folders, one page each. Links are followed, as readers follow them, but into no folder again."""
        folder, _, start = prefix.rpartition("/")
        yield from _walked(f"{folder}/", start, deep, ())

    def look(self, paths: Sequence[str]) -> dict[str, Found]:
        """Ask the file system; what is no plain file is not there."""
        found = {}
        for path in paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                try:
                    status = os.stat(self.source(path))
                except OSError as exc:
                    if isinstance(exc, (FileNotFoundError, NotADirectoryError)):
                        raise
                    raise classify(exc, f"looking at {path}") from exc
                if stat.S_ISREG(status.st_mode):
                    found[path] = _found(self.source(path), status)
        return found

    def read(self, parts: Sequence[Part], then: Callable[[Part, bytes], T]) -> list[T]:
        """Read ranges."""

        def read(part: Part) -> bytes:
            try:
                with open(self.source(part.path), "rb") as file:
                    file.seek(part.start)
                    return file.read(part.end - part.start)
            except OSError as exc:
                raise classify(exc, f"reading {part.path}") from exc

        return [then(part, read(part)) for part in parts]

    def table(
        self, place: Location, access: StoreAccess, *, staging: str, stop: threading.Event
    ) -> tuple[PosixStore, PosixStore]:
        """Open the folder once: it answers at once."""
        store = PosixStore(place.prefix, staging)
        return store, store

    def names(self, place: Location, folder: str, access: StoreAccess) -> Sequence[str]:
        """List a folder."""
        with contextlib.suppress(OSError):
            return sorted(one.name + ("/" if one.is_dir() else "") for one in Path(folder).iterdir())
        return ()

    @contextlib.contextmanager
    def leaving_nothing(self, place: Location) -> Iterator[None]:
        """Remove the empty folders that were not there before."""
        made = [path for path in (Path(place.prefix), *Path(place.prefix).parents) if not path.exists()]
        try:
            yield
        finally:
            if made:
                for folder, _, _ in os.walk(made[0], topdown=False):
                    with contextlib.suppress(OSError):  # it is not empty
                        os.rmdir(folder)
                for parent in made[1:]:
                    with contextlib.suppress(OSError):
                        parent.rmdir()


class PosixStore(Store):
    """The files below one folder. Safe to use from many threads and processes, also over NFS."""

    def __init__(self, root: str, staging: str) -> None:
        """`staging` is the key of the folder for this attempt's temporary files."""
        self._root = Path(root)
        self._staging = staging

    def get(self, key: str) -> bytes | None:
        """Read a file; None if there is none."""
        with (
            self._faults("reading", key),
            contextlib.suppress(FileNotFoundError),
            self._file(key, os.O_RDONLY) as descriptor,
            open(descriptor, "rb", closefd=False) as file,
        ):
            return file.read()
        return None

    def put(self, key: str, body: bytes) -> None:
        """Write a file, whole and at once."""
        with self._faults("writing", key), self._at(key, make=True) as (folder, name):
            os.replace(_temporary(folder, body), name, src_dir_fd=folder, dst_dir_fd=folder)
            _sync_folder(folder)

    def create(self, key: str, body: bytes) -> bool:
        """Write a file if there is none."""
        with self._faults("creating", key), self._at(key, make=True) as (folder, name):
            temporary = _temporary(folder, body)
            try:
                os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                return False
            except OSError as exc:
                if exc.errno in _NO_LINKS:
                    raise JobError(
                        Failure.UNSAFE_STORE,
                        f"the file system of {self._root} has no hard links, so two jobs could overwrite each other's "
                        "commit: use another file system or an object store",
                    ) from exc
                raise
            finally:
                os.unlink(temporary, dir_fd=folder)
            _sync_folder(folder)
            return True

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> bool:
        """Write over just what was read: under a lock, which a process that dies lets go."""
        held = str(PurePosixPath(key).with_name(f".{PurePosixPath(key).name}.lock"))
        for one in (key, held):
            self.check_free(one)
        with self._faults("updating", key), self._file(held, os.O_RDWR | os.O_CREAT, make=True) as lock:
            self._lock(lock, held)
            if (made := change(self.get(key))) is None:
                return False
            self.put(key, made)
            return True

    def size(self, key: str) -> int | None:
        """Size of a file in bytes; None if there is none."""
        gone = contextlib.suppress(FileNotFoundError)
        with self._faults("looking for", key), gone, self._at(key) as (folder, name):
            found = beneath.status(folder, name)
            return found.st_size if found else None
        return None

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """List all files whose key begins with `prefix` (which ends with a slash) and sorts after `after`."""
        with self._faults("listing", prefix):
            found = [item for item in beneath.files(self._root, prefix) if item.key > after]
        yield from sorted(found, key=lambda item: item.key)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete files, and the folders that are empty then."""
        for key in keys:
            with self._faults("deleting", key):
                with contextlib.suppress(FileNotFoundError), self._at(key) as (folder, name):
                    os.unlink(name, dir_fd=folder)
                # A folder that fills again in between stays: rmdir takes only empty ones.
                with contextlib.suppress(OSError):
                    for place in [parent.as_posix() for parent in PurePosixPath(key).parents][:-2]:
                        with self._at(place) as (folder, name):
                            os.rmdir(name, dir_fd=folder)

    def begin(self, key: str) -> str:
        """Make the temporary file of an upload; its key is the upload's id."""
        upload_id = f"{self._staging}/{PurePosixPath(key).name}.{secrets.token_hex(4)}{TEMPORARY}"
        with self._faults("beginning", upload_id), self._file(upload_id, _NEW, make=True):
            return upload_id

    def upload(self, key: str, upload_id: str, piece: Piece) -> str:
        """Write one piece into the temporary file."""
        with self._faults("writing", key), self._file(upload_id, os.O_WRONLY) as descriptor:
            view, offset = memoryview(piece.body), piece.offset
            while view:
                written = os.pwrite(descriptor, view, offset)
                view, offset = view[written:], offset + written
            os.fsync(descriptor)
        return str(len(piece.body))

    def complete(self, key: str, upload_id: str, pieces: Sequence[str]) -> bool:
        """Rename the temporary file to its place."""
        while self.size(upload_id) is not None:
            # Another has renamed it, or a delete has just removed the empty folder: look again.
            with (
                self._faults("publishing", key),
                contextlib.suppress(FileNotFoundError),
                self._at(upload_id) as (source, name),
                self._at(key, make=True) as (target, new),
            ):
                os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
                _sync_folder(target)
                return True
        return False

    def abort(self, key: str, upload_id: str) -> None:
        """Delete the temporary file."""
        gone = contextlib.suppress(FileNotFoundError)
        with self._faults("dropping", key), gone, self._at(upload_id) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def can_be(self, upload_id: str, key: str, staging: str) -> bool:
        """Whether an upload of this id can have been begun for a key, with temporary files below `staging`."""
        begun = f"{staging}/{PurePosixPath(key).name}"
        return upload_id.startswith(begun) and bool(_OWN.fullmatch(upload_id[len(begun) :]))

    def dangling(self, below: str = "") -> Iterator[Dangling]:
        """List all temporary files of all attempts."""
        for item in self.list(STAGING):
            if item.key.endswith(TEMPORARY):
                name = PurePosixPath(item.key).name.removesuffix(TEMPORARY).rpartition(".")[0]
                yield Dangling(name, item.key, item.modified)

    def check_key(self, key: str) -> None:
        """Refuse a path that no file system holds."""
        for part in key.split("/"):
            if len(part.encode()) > MAX_COMPONENT_BYTES:
                raise JobError(
                    Failure.OUTPUT_LIMIT,
                    f"a folder's name has at most {MAX_COMPONENT_BYTES} bytes, but a partition needs "
                    f"{len(part.encode())}: {part[:120]!r}...; partition by a column with shorter values "
                    "(they are percent-encoded)",
                )
        if len(f"{self._root}/{key}".encode()) > MAX_PATH_BYTES:
            raise JobError(Failure.OUTPUT_LIMIT, f"a path has at most {MAX_PATH_BYTES} bytes: {key[:120]!r}...")

    def check_free(self, key: str) -> None:
        """Refuse to go on where something else than a file, or than a folder on the way to it, is in its place."""
        with self._faults("looking for", key):
            beneath.check_free(self._root, key)

    def _lock(self, lock: int, key: str) -> None:
        """Lock a file. Who may only read it can hold it too, so this does not wait for ever."""
        deadline = time.monotonic() + LOCK_PATIENCE
        try:
            while not _locks(lock):
                if time.monotonic() > deadline:
                    text = f"{self._root}/{key} is locked by another process for {LOCK_PATIENCE:.0f} s: find out whose"
                    raise JobError(Failure.STORAGE_UNAVAILABLE, f"{text} it is, and end it")
                time.sleep(0.01)
        except OSError as exc:
            text = f"the file system of {self._root} has no locks ({exc.strerror})"
            raise JobError(Failure.UNSAFE_STORE, text) from exc

    def _at(self, key: str, *, make: bool = False) -> contextlib.AbstractContextManager[tuple[int, str]]:
        return beneath.parent(self._root, key, make=make)

    @contextlib.contextmanager
    def _file(self, key: str, flags: int, *, make: bool = False) -> Iterator[int]:
        with self._at(key, make=make) as (folder, name), beneath.file(folder, name, flags) as descriptor:
            yield descriptor

    @contextlib.contextmanager
    def _faults(self, doing: str, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as exc:
            raise JobError(
                Failure.STORAGE_UNAVAILABLE, f"{doing} {self._root}/{key}: it went away meanwhile ({exc.strerror})"
            ) from exc
        except OSError as exc:
            raise classify(exc, f"{doing} {self._root}/{key}") from exc


def _walked(folder: str, start: str, deep: bool, above: tuple[tuple[int, int], ...]) -> Iterator[Sequence[Found]]:
    """List a folder and those below it; `above` are the folders on the way to it, by device and inode."""
    page: list[Found] = []
    below: list[str] = []
    try:
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in above:
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(start):
                    continue
                if entry.is_dir():
                    below.append(f"{folder}{entry.name}/")
                    continue
                try:
                    status = entry.stat()
                except FileNotFoundError:  # removed meanwhile
                    if entry.is_symlink():  # a link to nothing has no bytes, and somebody meant it to have some
                        page.append(Found(f"{folder}{entry.name}", 0))
                    continue
                if stat.S_ISREG(status.st_mode):
                    page.append(_found(f"{folder}{entry.name}", status))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as exc:
        raise classify(exc, f"listing {folder}") from exc
    yield page if deep else [*page, *(Found(name, 0) for name in below)]
    if deep:
        for name in sorted(below):
            yield from _walked(name, "", deep, (*above, (here.st_dev, here.st_ino)))


def _found(path: str, status: os.stat_result) -> Found:
    return Found(path, status.st_size, f"{status.st_mtime_ns}-{status.st_ino}", status.st_mtime)


def _temporary(folder: int, body: bytes) -> str:
    """Write a hidden, synced file in a folder; returns its name."""
    name = f".{secrets.token_hex(8)}"
    with beneath.file(folder, name, _NEW) as descriptor, open(descriptor, "wb", closefd=False) as file:
        file.write(body)
        file.flush()
        os.fsync(descriptor)
    return name


def _sync_folder(descriptor: int) -> None:
    """Make a new name survive a loss of power."""
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # some network file systems cannot sync folders
            raise


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
