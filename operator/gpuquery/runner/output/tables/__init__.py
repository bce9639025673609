"""Formats of tables that a result is committed to, behind one protocol."""
