"""From text to plan: DuckDB binds a statement over empty tables, its bound plan becomes ours.

`catalog` holds the tables, `binder` the way, `duckjson_*` what DuckDB's JSON means, `source` the places.
"""

from gpuquery.runner.query.sql.front.binder import bind, check

__all__ = ["bind", "check"]
