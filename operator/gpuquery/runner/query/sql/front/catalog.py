"""The tables that a statement is bound over: empty, in memory, with the inputs' schemas, and nothing else in reach.

DuckDB is only a binder here. Its connection has no access to files, the network, extensions or Python's variables, and
its settings are locked.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import duckdb

from gpuquery.runner.query.sql.errors import SqlError
from gpuquery.runner.query.sql.front.duckjson_types import duck_name, quoted
from gpuquery.runner.query.sql.front.limits import MAX_DEPTH
from gpuquery.runner.query.sql.types import UnsupportedType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.query.sql.types import Columns, Type

_CONFIG = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "python_enable_replacements": "false",
    "threads": "1",
    "memory_limit": "512MB",
    "temp_directory": "",
}
_NULL_ORDER = "SET GLOBAL default_null_order = 'nulls_last_on_asc_first_on_desc'"
"""PostgreSQL's documented rule: NULL counts as larger than any other value. DuckDB's own default is NULLS LAST."""
_SETTINGS = (  # global ones: each statement has a connection of its own
    "SET GLOBAL TimeZone = 'UTC'",
    f"SET GLOBAL max_expression_depth = {MAX_DEPTH}",
    "SET GLOBAL lock_configuration = true",
)
_KEPT = 4
"""Databases that are kept: statements over the same inputs share one, which saves some 50 ms each."""

_lock = threading.Lock()
_databases: dict[object, duckdb.DuckDBPyConnection] = {}


def connection(schemas: Mapping[str, Columns], setup: Sequence[str] = ()) -> duckdb.DuckDBPyConnection:
    """Return a connection of its own to a database that holds the empty tables.

    `setup` are statements of ours that are run in it first: settings and macros of a dialect.
    Raises SqlError for names that SQL cannot tell apart: they are not case-sensitive in it.
    """
    key = (*setup, *((name, tuple(columns.items())) for name, columns in schemas.items()))
    with _lock:
        if key not in _databases:
            _check(schemas)
            while len(_databases) >= _KEPT:
                _databases.pop(next(iter(_databases)))
            _databases[key] = _database(schemas, setup)
        return _databases[key].cursor()


def drop_databases() -> None:
    """Drop the databases: DuckDB invalidates a database after an internal error."""
    with _lock:
        _databases.clear()


def without_ambiguous_names(columns: Columns) -> Columns:
    """Return an input's columns; names that differ only in case share one column that no statement can use."""
    made: dict[str, Type | UnsupportedType] = {}
    first: dict[str, str] = {}
    for name, kind in columns.items():
        other = first.setdefault(name.lower(), name)
        made[other] = kind if other == name else UnsupportedType(f'also exists as "{name}", and {_CASE}')
    return made


_CASE = "names in SQL are not case-sensitive: rename one of them"


def _check(schemas: Mapping[str, Columns]) -> None:
    seen: dict[str, str] = {}
    for name, columns in schemas.items():
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise SqlError(f'the inputs "{other}" and "{name}" differ only in the case of letters; {_CASE}')
        if not columns:
            raise SqlError(f'input "{name}" has no columns')


def _database(schemas: Mapping[str, Columns], setup: Sequence[str]) -> duckdb.DuckDBPyConnection:
    made = duckdb.connect(config=dict(_CONFIG))
    for name, columns in schemas.items():
        inside = ", ".join(f"{quoted(column)} {_duck_name(kind)}" for column, kind in columns.items())
        made.execute(f"CREATE TABLE {quoted(name)} ({inside})")
    for setting in (_NULL_ORDER, *setup, *_SETTINGS):
        made.execute(setting)
    return made


def _duck_name(kind: Type | UnsupportedType) -> str:
    """Return DuckDB's name of a type; for a column that is refused, one that no column has here."""
    return "UUID" if isinstance(kind, UnsupportedType) else duck_name(kind)
