"""Observe, decide, apply: one job at a time, level-triggered."""
