"""Pod: process 1. It starts the processes of the query, answers for them over HTTP, and says how they ended.

Standard library only, and small: it shares the pod's memory with the query, and must outlive whatever the query does.
`pod` is what every pod has, `single` a pod whose process is the only one, `worker_set` one of several; the latter talks
to the others through `gpuquery.runner.coordination`.
"""
