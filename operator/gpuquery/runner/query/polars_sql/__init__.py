"""SQL as Polars reads it: `query.dialect: polars`, kept for one release."""
