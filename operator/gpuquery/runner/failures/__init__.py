"""What ended a run: its failure class, and a message for the author of the query."""
