"""What ended a run: its class, in words for the author of the query."""
