"""Columns of key=value folders: which folders are keys, and what type their values have.

A type is taken from the record of our own table, else from `types` of the input, else from all values: integers and
dates that would be written back just so, and texts for everything else. Nothing is guessed from a sample.
Names and values are percent-decoded once, as every writer of such folders encodes them; `__HIVE_DEFAULT_PARTITION__` is
null. https://spark.apache.org/docs/latest/sql-data-sources-parquet.html#partition-discovery
"""

from __future__ import annotations

import json
import re
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import dtypes, exact
from gpuquery.runner.stores.base import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess
    from gpuquery.runner.inputs.base import File, Schema

NULL = "__HIVE_DEFAULT_PARTITION__"
_WILD = re.compile(r"[*?\[{]")
_RECORD = re.compile(r"\d{20}\.json")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_INT64 = range(-(2**63), 2**63)
RECORDS = 16
"""Records of our own table that are looked at for its columns, the newest first: a fence has none."""

Keys = tuple[tuple[str, str | None], ...]


def filled(item: Input, files: Sequence[File]) -> tuple[tuple[File, ...], tuple[str, ...]]:
    """Return the files with the keys of their folders, and warnings. Raises JobError.

    Without a word in the spec (`hivePartitioned`) folders are columns if all files have the same keys.
    """
    if item.hive_partitioned is False:
        return tuple(files), ()
    roots = _roots(item)
    found = [_keys(item, file.uri, roots) for file in files]
    first = sorted(name for name, _ in found[0]) if found else []
    other = next((at for at, keys in enumerate(found) if sorted(name for name, _ in keys) != first), None)
    if other is None:
        return tuple(file._replace(keys=keys) for file, keys in zip(files, found, strict=True)), ()
    message = (
        f'input "{item.name}": {files[0].uri} is in folders with the keys {_named(found[0])}, and {files[other].uri} '
        f"with {_named(found[other])}"
    )
    if item.hive_partitioned:
        raise _invalid(
            f"{message}: all files need the same keys; read them as two inputs, or set hivePartitioned: false"
        )
    return tuple(files), (f"{message}: so these folders are no columns; to have them, read the files as two inputs",)


def types(item: Input, files: Sequence[File], access: StoreAccess) -> Schema:
    """Return the types of the keys that the files have, in the order of their folders. Raises JobError."""
    if not files or not files[0].keys:
        return {}
    names = [name for name, _ in files[0].keys]
    known = _recorded(item, access)
    out: Schema = {}
    for name in names:
        texts = {dict(file.keys)[name] for file in files}
        if name in item.types:
            out[name] = _declared(item, name)
        else:
            out[name] = known.get(name) or _guessed(text for text in texts if text is not None)
        _check(item, files, name, out[name])
    return out


def value(text: str | None, dtype: pl.DataType) -> Any:
    """Return the value that a folder stands for; `types` has seen that it is one of the type."""
    return None if text is None else exact.parsed(text, dtype)


def _declared(item: Input, name: str) -> pl.DataType:
    found = dtypes.parse(item.types[name])
    return found if isinstance(found, pl.DataType) else found()


def _check(item: Input, files: Sequence[File], name: str, dtype: pl.DataType) -> None:
    """Raise InvalidInput for a folder whose value is none of its type."""
    seen: dict[str, File] = {}
    for file in files:
        text = dict(file.keys)[name]
        if text is not None:
            seen.setdefault(text, file)
    for text, file in seen.items():
        try:
            exact.parsed(text, dtype)
        except ValueError as exc:
            raise _invalid(
                f'input "{item.name}": {file.uri} is in the folder "{name}" of value {text!r}, which is no {dtype} '
                f"({exc}): set types: {{{name}: String}}"
            ) from None


def _guessed(texts: Iterable[str]) -> pl.DataType:
    known = list(texts)
    if known and all(_INTEGER.fullmatch(text) and int(text) in _INT64 for text in known):
        return pl.Int64()
    if known and all(_is_date(text) for text in known):
        return pl.Date()
    return pl.String()


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _keys(item: Input, uri: str, roots: Sequence[str]) -> Keys:
    root = max((root for root in roots if uri.startswith(root)), key=len, default=None)
    if root is None:
        return ()
    keys: list[tuple[str, str | None]] = []
    for part in uri[len(root) :].split("/")[:-1]:
        name, equals, text = part.partition("=")
        if not (equals and name):
            continue
        try:
            decoded, plain = unquote(text, errors="strict"), unquote(name, errors="strict")
        except UnicodeDecodeError:
            raise _invalid(f'input "{item.name}": the folder {part!r} of {uri} is no text: rename it') from None
        keys.append((plain, None if decoded == NULL else decoded))
    if len({name for name, _ in keys}) < len(keys):
        raise _invalid(
            f'input "{item.name}": {uri} is in two folders of the same key: rename one, or set hivePartitioned: false'
        )
    return tuple(keys)


def _roots(item: Input) -> list[str]:
    """The folders below which folders are keys: a folder that is read, or what precedes a glob's first key or star."""
    out = []
    for place in item.places:
        source = stores.of(place).source(place)
        if source.endswith("/"):
            out.append(source)
            continue
        parts = source.split("/")
        if item.hive_partitioned is None and not _WILD.search(source):
            out.append("/".join(parts[:-1]) + "/")
            continue
        fixed = next((n for n, part in enumerate(parts[:-1]) if "=" in part or _WILD.search(part)), len(parts) - 1)
        out.append("/".join(parts[:fixed]) + "/")
    return out


def _recorded(item: Input, access: StoreAccess) -> Mapping[str, pl.DataType]:
    """Types of the partition columns by the newest record of our own table, in whose data/ folder the files lie."""
    for place in item.places:
        fixed = _WILD.split(place)[0].rpartition("/")[0] + "/"
        if "/data/" not in fixed:
            continue
        root = fixed.rpartition("/data/")[0]
        log = stores.locate(f"{root}/_commits")
        names = [n for n in stores.of(root).names(log, f"{log.prefix}/", access) if _RECORD.fullmatch(n)]
        files = stores.files(root, access)
        for name in sorted(names, reverse=True)[:RECORDS]:
            uri = stores.of(root).source(f"{root}/_commits/{name}")
            size = files.sizes([uri])[uri]
            (body,) = files.read([Part(uri, 0, size)], lambda _, body: body)
            if found := _partitioned(body):
                return found
    return {}


def _partitioned(body: bytes) -> dict[str, pl.DataType]:
    try:
        record = json.loads(body)
        kinds = {column["name"]: column["type"] for column in record["columns"]}
        return {name: _plain(dtypes.parse(kinds[name])) for name in record["partitionBy"]}
    except (ValueError, KeyError, TypeError, dtypes.UnknownTypeError):
        return {}  # a fence, or the record of something else


def _plain(found: Any) -> pl.DataType:
    dtype: pl.DataType = found if isinstance(found, pl.DataType) else found()
    return pl.String() if isinstance(dtype, pl.Categorical | pl.Enum) else dtype


def _named(keys: Keys) -> str:
    return ", ".join(name for name, _ in keys) or "none"


def _invalid(message: str) -> JobError:
    return JobError(Failure.INVALID_INPUT, message)
