"""Formats of files: each module resolves and reads one."""
