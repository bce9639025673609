"""A cluster of the attempt's own pods."""
