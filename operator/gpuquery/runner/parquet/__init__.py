"""Parquet's own metadata, read without a parquet library."""
