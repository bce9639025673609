"""DuckDB as the independent engine, with the rules of SQL that docs/sql.md says to hold."""

from __future__ import annotations

import duckdb


def connect() -> duckdb.DuckDBPyConnection:
    """Return a connection to a database in memory.

    Its clock is at UTC, and NULL is ordered as PostgreSQL documents it: as if larger than any other value.
    """
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
    return connection
