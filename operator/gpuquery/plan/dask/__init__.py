"""Plans on a Dask cluster: whose it is, what it is made of, and the flags of its workers."""
