"""The operator as a process: watches, work, leadership, probes and metrics.

Its settings are read by the command line too, where kopf need not be installed: nothing is imported here.
"""
