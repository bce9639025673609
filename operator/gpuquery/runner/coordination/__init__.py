"""The worker set: how the processes of one attempt, in several pods, find each other and always end together.

Every pod has a supervisor (`gpuquery.runner.pod`); that of index 0 is the coordinator, the others are its agents.
Standard library only, and small, as the supervisor is.
"""
