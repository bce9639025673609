"""Plan -> Kubernetes objects, as plain dictionaries; pure."""
