"""Pod: process 1. It starts the processes of the query, answers for them over HTTP, and says how they ended.

Standard library only, and small: it shares the pod's memory with the query, and must outlive whatever the query does.
An attempt of one process is a set of size one. Pods talk to each other through `gpuquery.runner.coordination`.
"""
