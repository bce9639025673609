"""Policies: each answers one question about a job. Pure: no clock, no I/O."""
