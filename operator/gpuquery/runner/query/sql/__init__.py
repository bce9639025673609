"""SQL: bound by DuckDB, planned by us, run by Polars.

A statement goes one way: the author's text, in one of several dialects (`dialects`), is bound over empty tables that
have the inputs' schemas (`front`), and becomes our own small relational plan (`plan`), which knows a type and a place
in the text for every expression. Rules make it cheaper (`rules`), a compiler makes a LazyFrame of it for one target,
the CPU or a RAPIDS release (`compile`), with the functions of a closed table (`functions`). Nothing in between is
Polars' own SQL, and nothing that the author wrote is executed by DuckDB.
"""
