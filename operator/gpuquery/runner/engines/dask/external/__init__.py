"""A cluster that runs elsewhere: made for the attempt by dask-kubernetes, or somebody else's."""
