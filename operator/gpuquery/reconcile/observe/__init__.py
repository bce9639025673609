"""Observe: what exists of a job, from memory or from the API server, as the one model that decisions see."""
