"""Execution engines behind one small protocol, found by entry point."""
