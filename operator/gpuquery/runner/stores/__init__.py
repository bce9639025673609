"""Where files lie: folders and object stores, for reading, writing and sizing."""
