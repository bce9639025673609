"""The worker set: how the processes of one attempt, in several pods, find each other and always end together.

Every pod has a supervisor; that of index 0 is the hub. Standard library only, and small: it shares the pod's memory
with the query, and must outlive whatever the query does.
"""
