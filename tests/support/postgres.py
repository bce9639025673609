"""A real PostgreSQL for tests: Debian's package, in a folder of its own, on a Unix socket, as a user without rights.

`binaries()` says where it is, or None; `apt-get install postgresql` brings it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tests.support import sql_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa

LOCALE = "C.UTF-8"
"""Text is ordered by its code points, which is the order of its bytes, and upper() knows accents."""
START_SECONDS = 30


class PostgresError(Exception):
    """A statement that PostgreSQL refuses, or that fails in it."""


def binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs, of the newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Postgres:
    """A running server."""

    def __init__(self, programs: Path, folder: Path) -> None:
        where = ["-h", folder, "-U", "tests", "-d", "postgres"]
        self._psql = [programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *where]
        self._environment = {**os.environ, "PGTZ": "UTC", "PGOPTIONS": "-c statement_timeout=20000 -c datestyle=ISO"}

    def run(self, text: str, given: str = "") -> str:
        """Run a statement with what COPY reads, and return what it prints. Raises PostgresError."""
        done = subprocess.run(
            [*self._psql, "-c", text], input=given, capture_output=True, text=True, timeout=60, env=self._environment
        )
        if done.returncode:
            raise PostgresError(done.stderr.removeprefix("ERROR:  ").strip())
        return done.stdout

    def load(self, tables: Mapping[str, pa.Table]) -> None:
        """Make the generated tables, of the columns that PostgreSQL can hold."""
        for name, table in tables.items():
            statement, rows = sql_tables.postgres(name, table)
            self.run(statement)
            self.run(f'COPY "{name}" FROM STDIN', rows)

    def rows(self, text: str, types: list[pl.DataType]) -> list[tuple[Any, ...]]:
        """Return the answer to a query, read as values of these types; what has no such value stays text."""
        lines = self.run(f"COPY ({text}) TO STDOUT").split("\n")[:-1]
        return [tuple(map(value, line.split("\t"), types)) for line in lines]


def value(text: str, kind: pl.DataType) -> Any:
    """Read what COPY prints as a value of a type; what is none stays text."""
    if text == "\\N":
        return None
    with contextlib.suppress(ValueError, ArithmeticError):
        return _reader(kind)(text)
    return text


def _reader(kind: pl.DataType) -> Callable[[str], Any]:
    match kind:
        case pl.Boolean():
            return {"t": True, "f": False}.__getitem__
        case pl.Float32() | pl.Float64():
            return float
        case pl.Decimal():
            return lambda text: placed(Decimal(text), kind.scale)
        case pl.Date():
            return dt.date.fromisoformat
        case pl.Datetime():
            return dt.datetime.fromisoformat
        case pl.Time():
            return dt.time.fromisoformat
        case _ if kind.is_integer():
            return lambda text: int(text) if "." not in text else _whole(Decimal(text))
        case _:
            return _unescaped


def placed(value: Decimal, places: int) -> Decimal:
    """Return the same number with so many places, if it has not more: PostgreSQL keeps those of each value."""
    moved = Decimal(f"{value:.{places}f}") if value.is_finite() else value
    return moved if moved == value else value


def _whole(value: Decimal) -> int | Decimal:
    return int(value) if value == value.to_integral_value() else value


def _unescaped(text: str) -> str:
    for written, meant in (("\\t", "\t"), ("\\n", "\n"), ("\\r", "\r"), ("\\\\", "\\")):
        text = text.replace(written, meant)
    return text


@contextlib.contextmanager
def serve() -> Iterator[Postgres]:
    """Start a server in a folder that goes with it."""
    programs = binaries()
    if programs is None:
        raise FileNotFoundError("no PostgreSQL in /usr/lib/postgresql: apt-get install postgresql")
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="gpuquery-postgres-"))
    if user:
        shutil.chown(folder, user)
    process = None
    try:
        data = folder / "data"
        initdb = ["-D", data, "-U", "tests", "-A", "trust", "-E", "UTF8", f"--locale={LOCALE}", "--no-sync"]
        subprocess.run([programs / "initdb", *initdb], check=True, capture_output=True, user=user, cwd=folder)
        settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, *settings], stdout=log, stderr=log, user=user, cwd=folder
            )
        made = Postgres(programs, folder)
        _wait(made, process, folder / "log")
        yield made
    finally:
        if process:
            process.send_signal(signal.SIGINT)
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    """Return whom to run it as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _wait(server: Postgres, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            server.run("SELECT 1")
        except PostgresError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.1)
        else:
            return
