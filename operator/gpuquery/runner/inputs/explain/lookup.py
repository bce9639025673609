"""Look the files of inputs up one by one, in a process that a crash of native code may take: which cannot be read?

The process (`runner.inputs.examine`) says what it is about to read before it reads it. So if it dies, the last word
names the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from gpuquery.runner.failures import obituary, readers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import Resolved

PROGRAM = "gpuquery.runner.inputs.examine"
SECONDS = 45.0
"""How long files are looked at."""
UNSURE_SECONDS = 15.0
"""The same where it is not certain that a file is to blame."""
START_SECONDS = 30.0
"""More time, for the process to start: a pod's processor may be busy."""
HUNG_SECONDS = 5.0
"""How much longer than allowed the process may take before it is ended."""
_LAST_WORDS = 8192


@dataclass(frozen=True)
class Broken:
    """A file that cannot be read."""

    input: str
    file: str
    reason: str
    group: int | None = None
    """Number of the row group, from 0."""
    column: str = ""
    complete: bool = False
    """Whether `reason` is a whole message already, with the input and the file."""


@dataclass
class Looked:
    """What a look at the files has shown."""

    broken: list[Broken] = field(default_factory=list)
    files: int = 0
    """Files that were looked at."""
    over: bool = False
    """Whether all were."""
    died: bool = False
    """Whether the process that looked was ended by native code."""


@dataclass(frozen=True)
class Task:
    """What to look at."""

    items: Sequence[Input]
    access: StoreAccess
    resolved: Mapping[str, Resolved] | None = None
    """How inputs are read; None where their resolution has failed: then each file is resolved alone."""
    columns: Mapping[str, Sequence[str]] | None = None
    """Columns that the query reads, by input; others are not looked at. None: all."""
    decode: bool = True
    """Whether values are read too, and not only what resolution reads."""
    seconds: float = SECONDS

    def to_json(self, *, one_by_one: bool) -> str:
        """Write it down for the process."""
        given = None
        if self.resolved is not None:
            given = {item.name: self.resolved[item.name].to_json() for item in self.items}
        return json.dumps(
            {
                "items": [item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in self.items],
                "access": self.access.model_dump(mode="json", by_alias=True),
                "resolved": json.dumps(given) if given is not None else None,
                "columns": None if self.columns is None else {name: list(c) for name, c in self.columns.items()},
                "decode": self.decode,
                "seconds": self.seconds,
                "oneByOne": one_by_one,
            }
        )


def broken(task: Task) -> Looked:
    """Find the files that cannot be read; raises nothing: what cannot be found out is not found."""
    looked = Looked()
    for one_by_one in (False, True):
        looked = Looked()
        with contextlib.suppress(OSError, ValueError):
            last = _run(task, looked, one_by_one=one_by_one)
            if looked.died and last and last.get("file"):
                looked.broken.append(Broken(last["input"], last["file"], last["reason"], last.get("group")))
        if looked.broken or not looked.died:
            break
    return looked


def _run(task: Task, looked: Looked, *, one_by_one: bool) -> dict[str, Any] | None:
    """Follow one process; returns what it was about to read when native code, or this one, ended it."""
    at: dict[str, Any] = {}
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as words:
        given.write(task.to_json(one_by_one=one_by_one).encode())
        given.seek(0)
        process = subprocess.Popen([sys.executable, "-m", PROGRAM], stdin=given, stdout=subprocess.PIPE, stderr=words)
        assert process.stdout is not None
        try:
            for told in _lines(process.stdout, time.monotonic() + START_SECONDS + task.seconds + HUNG_SECONDS):
                match told["kind"]:
                    case "at":
                        at = told
                    case "broken":
                        looked.broken.append(Broken(**told["file"]))
                    case "looked":
                        looked.files, looked.over = int(told["files"]), bool(told["over"])
        finally:
            hung = process.poll() is None and not _ended(process)
            process.kill()
            status = process.wait()
            process.stdout.close()
        looked.died = status in readers.NATIVE
        if hung:
            return None
        why = readers.crash(_tail(words)) if looked.died else ""
        how = f"{obituary.signal_name(status)}{f': {why}' if why else ''}" if status < 0 else ""
        return {**at, "reason": f"native code crashed while it was being read ({how})"} if looked.died else None


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ends within a moment: its output has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2)
        return True
    return False


def _lines(pipe: IO[bytes], until: float) -> Iterator[dict[str, Any]]:
    """Yield what the process says until it ends, or until that time."""
    os.set_blocking(pipe.fileno(), False)
    rest = b""
    with selectors.DefaultSelector() as waiting:
        waiting.register(pipe, selectors.EVENT_READ)
        while (left := until - time.monotonic()) > 0:
            if not waiting.select(left):
                return
            data = os.read(pipe.fileno(), 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from (json.loads(line) for line in lines)


def _tail(words: IO[bytes]) -> list[str]:
    size = words.seek(0, os.SEEK_END)
    words.seek(max(0, size - _LAST_WORDS))
    return words.read().decode(errors="replace").splitlines()
