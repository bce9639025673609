"""Readers: whether an error comes from the reading of a file, by its type and text.

Polars raises one class for a broken page and for a cast of the query, and cudf raises RuntimeError for everything; only
texts tell which it was. What no text tells is looked for in the files, where that can be found out. Only the standard
library is imported, so a supervisor reads a dead process' last lines with it.

Texts are those of polars-parquet and polars-io of Polars 1.32 to 1.44, of libcudf and KvikIO 26.02 to 26.10, and of
Rust's runtime (library/std/src/alloc.rs, panicking.rs and sys/pal/unix/stack_overflow.rs).
"""

from __future__ import annotations

import re
from enum import Enum
from signal import SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV
from typing import TYPE_CHECKING

from gpuquery.runner.failures.words import kind as type_of
from gpuquery.runner.failures.words import said

if TYPE_CHECKING:
    from collections.abc import Sequence


class Origin(Enum):
    """What an error is about."""

    FILE = "file"
    """A file is not what its reader expects."""
    QUERY = "query"
    """The query does something that its data does not allow."""
    UNKNOWN = "unknown"
    """The text does not tell."""


_FILE = re.compile(
    r"parquet: |File out of specification|[Tt]hrift|snap error|snappy|corrupt|magic bytes|footer|page header"
    r"|ARROW:schema|invalid utf-?8|deflate|zstd|gzip|zlib|decompress|Compressed CSV"
    r"|(?i:error parsing ndjson|invalid json)|could not parse `.*` as dtype|cannot parse .* as"
    r"|found more fields than defined"
    r"|data type mismatch for column|extra column in file|did not find column|schema names differ|schema lengths differ"
    r"|No such file or directory|Permission denied|Is a directory|Input/output error|\(os error \d+\)"
    r"|failed to retrieve first file|unexpected end of file|failed to fill whole buffer|end of stream|early eof"
    r"|range end index \d+ out of range|Object at location|object-store|Generic \w+ error"
    r"|cudf/cpp/src/io/|Corrupted (?:header|footer)|Incorrect footer length|All sources must have the same schema"
    r"|Parquet (?:header parsing|data decode|string offset|dictionary index)|Dictionary (?:decode failed|is corrupted)"
    r"|Error during decompression|Data corruption detected|KvikIO failure|kvikio|cuFile|pread",
)
_QUERY_TYPES = frozenset(
    {
        "ColumnNotFoundError", "SchemaError", "SchemaFieldNotFoundError", "DuplicateError", "ShapeError",
        "StructFieldNotFoundError", "SQLInterfaceError", "SQLSyntaxError", "NoDataError", "OutOfBoundsError",
        "StringCacheMismatchError", "CategoricalRemappingWarning",
    }
)  # fmt: skip
_QUERY = re.compile(r"conversion from `.*` to `.*` failed in column|divi(?:sion|de) by zero|overflow in decimal")
_FILE_ALL_THE_SAME = re.compile(r"data type mismatch for column|extra column in file|did not find column|schema names")
_CRASHES = re.compile(
    r"memory allocation of \d+ bytes failed|thread '.*' (?:\(\d+\) )?(?:panicked|has overflowed its stack)"
    r"|fatal runtime error"
)
NATIVE = frozenset(-number for number in (SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE))
"""Exit codes of a process that its own native code has ended."""


def origin(exc: BaseException) -> Origin:
    """Tell what an exception of an engine is about."""
    name, text = type_of(exc), said(exc)
    if name in _QUERY_TYPES:
        return Origin.FILE if _FILE_ALL_THE_SAME.search(text) else Origin.QUERY
    if _QUERY.search(text):
        return Origin.QUERY
    if _FILE.search(text):
        return Origin.FILE
    return Origin.UNKNOWN


def crash(tail: Sequence[str]) -> str:
    """Return the line in which Rust's runtime says why it ends the process; empty if there is none."""
    return next((line.strip() for line in tail if _CRASHES.search(line)), "")
