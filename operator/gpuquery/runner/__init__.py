"""What runs in the pods of an attempt."""
