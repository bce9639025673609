"""The files of a table's metadata, as pyiceberg reads and writes them: through the runner's own stores.

pyiceberg's own ways to files need pyarrow or fsspec, which the images do not have, and know neither the job's
credentials nor its certificates.
"""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

from pyiceberg.io import FileIO, InputFile, OutputFile

from gpuquery.runner import stores
from gpuquery.runner.inputs.tables.iceberg import files

if TYPE_CHECKING:
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.stores.base import Store


class StoreIO(FileIO):
    """Reads and writes whole files; `written` has the places of those that it wrote, in order."""

    def __init__(self, access: StoreAccess, stop: threading.Event | None = None) -> None:
        """`stop` ends all waiting when it is set."""
        super().__init__()
        self.access = access
        self.written: list[str] = []
        self._stop = stop or threading.Event()
        self._folders: dict[str, Store] = {}

    def new_input(self, location: str) -> InputFile:
        """Return a file to read."""
        return _In(self, location)

    def new_output(self, location: str) -> OutputFile:
        """Return a file to write."""
        return _Out(self, location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete a file. Raises JobError."""
        place = location if isinstance(location, str) else location.location
        folder, name = self._split(place)
        folder.delete([name])

    def get(self, location: str) -> bytes:
        """Read a file. Raises JobError."""
        return files.whole(location, self.access)

    def size(self, location: str) -> int | None:
        """Size of a file in bytes; None if there is none."""
        folder, name = self._split(location)
        return folder.size(name)

    def put(self, location: str, body: bytes) -> None:
        """Write a file."""
        folder, name = self._split(location)
        self.written.append(location)
        folder.put(name, body)

    def _split(self, location: str) -> tuple[Store, str]:
        folder, _, name = files.place(location).rpartition("/")
        if folder not in self._folders:
            place = stores.locate(folder)
            self._folders[folder], _ = stores.of(folder).table(place, self.access, staging="_staging", stop=self._stop)
        return self._folders[folder], name


class _In(InputFile):
    def __init__(self, owner: StoreIO, location: str) -> None:
        super().__init__(location)
        self._owner = owner

    def __len__(self) -> int:
        size = self._owner.size(self.location)
        if size is None:
            raise FileNotFoundError(self.location)
        return size

    def exists(self) -> bool:
        return self._owner.size(self.location) is not None

    def open(self, seekable: bool = True) -> io.BytesIO:
        return io.BytesIO(self._owner.get(self.location))


class _Out(OutputFile):
    def __init__(self, owner: StoreIO, location: str) -> None:
        super().__init__(location)
        self._owner = owner
        self._size = -1

    def __len__(self) -> int:
        return self._size if self._size >= 0 else len(self.to_input_file())

    def exists(self) -> bool:
        return self.to_input_file().exists()

    def to_input_file(self) -> InputFile:
        return self._owner.new_input(self.location)

    def create(self, overwrite: bool = False) -> Any:
        return _Body(self)

    def keep(self, body: bytes) -> None:
        self._size = len(body)
        self._owner.put(self.location, body)


class _Body(io.BytesIO):
    """What is written becomes a file when it is closed; not if an error has ended the writing."""

    def __init__(self, file: _Out) -> None:
        super().__init__()
        self._file = file

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            super().close()
        else:
            self.close()

    def close(self) -> None:
        if not self.closed:
            self._file.keep(self.getvalue())
        super().close()
