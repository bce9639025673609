"""Decide: from a job and what was observed of it to what has to be done. Pure: no clock, no I/O."""
