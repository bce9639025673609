"""A POSIX folder: an upload is a temporary file, completing it is a rename, and a hard link creates exclusively.

The temporary files lie below _staging/ on the same file system, so a rename is atomic and readers of data/ never see
them. What was acknowledged survives a loss of power: files are synced before the record that names them is written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TypeVar

from gpuquery.api.reasons import Failure
from gpuquery.runner.errors import JobError
from gpuquery.runner.sink.faults import classify
from gpuquery.runner.sink.store import STAGING, Dangling, Piece, Stored

T = TypeVar("T")
R = TypeVar("R")

MAX_COMPONENT_BYTES = 255
MAX_PATH_BYTES = 4095
THREADS = 8
TEMPORARY = ".tmp"
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class PosixStore:
    """The files below one folder. Safe to use from many threads and processes, also over NFS."""

    def __init__(self, root: str, staging: str) -> None:
        """`staging` is the key of the folder for this attempt's temporary files."""
        self._root = Path(root)
        self._staging = staging

    def get(self, key: str) -> bytes | None:
        """Read a file; None if there is none."""
        with self._faults("reading", key), contextlib.suppress(FileNotFoundError):
            return (self._root / key).read_bytes()
        return None

    def put(self, key: str, body: bytes) -> None:
        """Write a file, whole and at once."""
        with self._faults("writing", key):
            os.replace(self._temporary(key, body), self._root / key)
            _sync_folder((self._root / key).parent)

    def create(self, key: str, body: bytes) -> bool:
        """Write a file if there is none."""
        with self._faults("creating", key):
            temporary = self._temporary(key, body)
            try:
                os.link(temporary, self._root / key)
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
                temporary.unlink()
            _sync_folder((self._root / key).parent)
            return True

    def size(self, key: str) -> int | None:
        """Size of a file in bytes; None if there is none."""
        with self._faults("looking for", key), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return (self._root / key).stat().st_size
        return None

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """List all files whose key begins with `prefix` (which ends with a slash) and sorts after `after`."""
        with self._faults("listing", prefix):
            found = []
            for folder, _, names in os.walk(self._root / prefix):
                for name in names:
                    path = Path(folder, name)
                    key = path.relative_to(self._root).as_posix()
                    if name.startswith(".") or key <= after:
                        continue
                    with contextlib.suppress(FileNotFoundError):
                        status = path.stat()
                        found.append(Stored(key, status.st_size, status.st_mtime))
        yield from sorted(found, key=lambda item: item.key)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete files, and the folders that are empty then."""
        for key in keys:
            path = self._root / key
            with self._faults("deleting", key):
                path.unlink(missing_ok=True)
                # A folder that fills again in between stays: rmdir takes only empty ones.
                with contextlib.suppress(OSError):
                    for _ in range(key.count("/") - 1):
                        path = path.parent
                        path.rmdir()

    def begin(self, key: str) -> str:
        """Make the temporary file of an upload; its key is the upload's id."""
        name = f"{PurePosixPath(key).name}.{secrets.token_hex(4)}{TEMPORARY}"
        upload_id = f"{self._staging}/{name}"
        with self._faults("beginning", upload_id):
            (self._root / self._staging).mkdir(parents=True, exist_ok=True)
            (self._root / upload_id).touch(exist_ok=False)
        return upload_id

    def upload(self, key: str, upload_id: str, piece: Piece) -> str:
        """Write one piece into the temporary file."""
        with self._faults("writing", key):
            descriptor = os.open(self._root / upload_id, os.O_WRONLY)
            try:
                view, offset = memoryview(piece.body), piece.offset
                while view:
                    written = os.pwrite(descriptor, view, offset)
                    view, offset = view[written:], offset + written
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return str(len(piece.body))

    def complete(self, key: str, upload_id: str, pieces: Sequence[str]) -> bool:
        """Rename the temporary file to its place."""
        source, target = self._root / upload_id, self._root / key
        with self._faults("publishing", key):
            while source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                # Either somebody else has renamed it, or a delete has just taken the empty folder: look again.
                with contextlib.suppress(FileNotFoundError):
                    os.rename(source, target)
                    _sync_folder(target.parent)
                    return True
        return False

    def abort(self, key: str, upload_id: str) -> None:
        """Delete the temporary file."""
        with self._faults("dropping", key):
            (self._root / upload_id).unlink(missing_ok=True)

    def dangling(self) -> Iterator[Dangling]:
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

    def parallel(self, work: Callable[[T], R], items: Sequence[T]) -> Sequence[R]:
        """Do calls on this store, eight at a time."""
        if len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(min(THREADS, len(items)), "store") as pool:
            return list(pool.map(work, items))

    def _temporary(self, key: str, body: bytes) -> Path:
        """Write a hidden, synced file beside `key`."""
        folder = (self._root / key).parent
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".{secrets.token_hex(8)}"
        with path.open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        return path

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


def _sync_folder(path: Path) -> None:
    """Make a new name survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # some network file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)
