"""Report: what the user is told, in the status and in events."""
