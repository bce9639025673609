"""Dask clusters of GPU workers: one that the attempt's own pods make, or one that is there already.

Nothing here imports Dask before a query needs it; what runs in processes of Dask's own (child.py, nanny.py, worker.py,
remote.py) imports nothing of the rest.
"""
