"""What runs in Dask's own processes in a cluster that is made for a job."""
