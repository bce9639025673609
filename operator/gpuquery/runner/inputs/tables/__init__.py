"""Table formats: each module finds the files of a snapshot of a table, and reads them."""
