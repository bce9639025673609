"""The query of a plan: its text, its parameters, and the process that runs it."""
