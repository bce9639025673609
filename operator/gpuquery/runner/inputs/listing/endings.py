"""Which files a folder, or a glob with an open end, is about: those of its format, by their names.

Spark and pyarrow read every file that is not hidden. Here a file that is none of the format by its name is passed over
with a warning: one stray text file does not stop a job, and nothing is left out in silence.
"""

from __future__ import annotations

import re

from gpuquery.api.spec import InputFormat

_COMPRESSED = r"(?:\.(?:gz|gzip|zst|zstd|snappy|snz|lz4|br|brotli|bz2|zlib|deflate|xz|lzo))?"
_NAMES = {
    InputFormat.PARQUET: rf"\.(?:parquet|parq|pq|par){_COMPRESSED}",
    InputFormat.CSV: rf"\.(?:csv|tsv|tab|psv|txt){_COMPRESSED}",
    InputFormat.NDJSON: rf"\.(?:ndjson|jsonl|jsonlines|json){_COMPRESSED}",
}
_NONE = r"(?:^|/)[^./]+(?:\.[0-9]+)?"
"""Hive, Impala and Trino write names without an ending: `000000_0`, `a44f-00_data.0`."""
_BY_FORMAT = {
    format: re.compile(f"(?:{names}|{_NONE})$", re.IGNORECASE | re.DOTALL) for format, names in _NAMES.items()
}


_MOST = {InputFormat.PARQUET: ".parquet", InputFormat.CSV: ".csv", InputFormat.NDJSON: ".ndjson"}
"""What most names end with, which is seen much sooner than a regular expression matches."""


def is_of(key: str, format: InputFormat) -> bool:
    """Whether the name of a file is one of its format, or has no ending."""
    if (found := _BY_FORMAT.get(format)) is None or key.endswith(_MOST[format]):
        return True
    return found.search(key) is not None
