"""What is wrong with the places of an input, in words that name the input and what is there instead."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File

MAX_NAMES_SHOWN = 5
SHOWN = 64
"""First bytes of a file that are looked at and shown."""
_PAGE = re.compile(rb"\s*<(?:!doctype|html|\?xml|error)", re.IGNORECASE)
"""How web pages and the errors of stores begin."""


def no_keys(item: Input) -> JobError:
    """Explain that text files lie in key=value folders."""
    return JobError(
        Failure.INVALID_INPUT,
        f'input "{item.name}": key=value folders become columns with parquet only, not with {item.format.value}: '
        "set hivePartitioned: false",
    )


def missing(item: Input, store: StoreAccess, uri: str = "", before: str | None = None) -> JobError:
    """Explain why nothing was found at one of an input's URIs, with what is there instead.

    `before` is its key up to the first wildcard.
    """
    uri = uri or item.places[0]
    place = stores.locate(uri)
    before = before if before is not None else place.prefix
    head = before.rpartition("/")
    folder, sought = head[0] + head[1], head[2]
    told = f'input "{item.name}": no file matches {uri}'
    nothing = ""
    while True:
        try:
            names = stores.of(uri).names(place, folder, store)
        except JobError as exc:
            return JobError(exc.failure, f'input "{item.name}": {uri}: {exc.message}')
        if names or not folder.strip("/"):
            break
        nothing = nothing or f"; there is nothing in {place.folder(folder)}"
        up = folder.rstrip("/").rpartition("/")
        folder, sought = up[0] + up[1], up[2]
    at = place.folder(folder)
    instead = (
        f"; in {at} there is {_closest(sought, names)}" if names else "" if nothing else f"; there is nothing in {at}"
    )
    return JobError(Failure.INVALID_INPUT, told + nothing + instead)


def table(item: Input, kind: str, root: str) -> JobError:
    """Refuse to read the files of a table without its log, with what to write instead."""
    told = f'input "{item.name}" ({item.shown})'
    why = {
        "own": f"{root} is the root of a table; its rows are under {root}data/: read those",
        "Delta": f"{root} is a Delta table, and its files hold rows that were deleted or replaced: write `uri: "
        f'"{root}"` and `delta: {{}}`',
        "Iceberg": f"{root} is an Iceberg table, and its files hold rows that were deleted or replaced: write `table: "
        "{catalog: <catalog>, name: <namespace.table>}` in place of its files",
        "Hudi": f"{root} belongs to a Hudi table, whose files hold several versions of its rows, and Hudi is not read: "
        "export the table as parquet, Delta or Iceberg",
        "stream": f"{root} is the sink of a Spark stream, and its log says which files count, for batches that failed "
        f'have left files there, too: name the files of the log in `uris` (Spark: spark.read.parquet("{root}")'
        ".inputFiles()), or write them as a table",
    }
    return JobError(Failure.INVALID_INPUT, f"{told}: {why[kind]}")


def like(head: bytes, uri: str, wanted: str) -> str:
    """Say what a file looks like by its first bytes, if it is not of its format; empty if they do not tell."""
    if _PAGE.match(head):
        shown = " ".join(head[:SHOWN].decode(errors="replace").split())
        return f"it is no {wanted} but a web page or a store's error message: {shown!r}"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself"
    if uri.endswith(".gz") and not head.startswith(b"\x1f\x8b"):
        return "its name ends with .gz, and it does not begin as gzip does"
    return ""


def lost_to_gpus(files: Sequence[File]) -> str:
    """Say which file the GPU readers would take for another one, or not find; empty if they find all."""
    for file in files:
        store = stores.of(file.uri)
        if sign := next((sign for sign in store.signs_lost_to_gpus if sign in file.uri), ""):
            return (
                f"the GPU readers of RAPIDS 25.08 to 26.10 do not find {file.uri}, or take another file for it, "
                f'because of the "{sign}" in its key: copy it to another key, or use engine: cpu'
            )
    return ""


def _closest(sought: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(sought, names, MAX_NAMES_SHOWN)
    shown = ", ".join((close + [name for name in names if name not in close])[:MAX_NAMES_SHOWN])
    return shown + (", ..." if len(names) > MAX_NAMES_SHOWN else "")
