"""Spec -> plan; pure."""
