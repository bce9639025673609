"""Other dialects: a statement of another warehouse as DuckDB's text that means the same, with the author's places.

A dialect is a table of what it knows (`postgres`, `spark`, ...): every function with how DuckDB writes it, or with the
reason why it is refused. What is in no table is refused, however much it looks like SQL that DuckDB would take: a
function of one name means two things in two warehouses more often than not.

sqlglot reads the text (`parser`), the dialect's table rewrites its tree (`rewriter`), sqlglot writes DuckDB's text
(`generator`), and marks in what it writes lead back to the author's (`places`).
"""
