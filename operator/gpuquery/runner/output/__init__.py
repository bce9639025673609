"""Staging, hive layout, upload and the commit log."""
