"""Dask clusters of GPU workers: one that the attempt's own pods make, or one that is elsewhere.

| files | process that runs them |
|---|---|
| `preloads/` | schedulers, nannies and workers that are made for a job, by its pods or by dask-kubernetes |
| `injected` | schedulers and workers of any cluster; it goes there by value, and they need not have this package |
| all others | that of the query, in the attempt's pods |

Nothing here imports Dask before a query needs it. `preloads/` and `injected` import nothing of the rest.
"""
