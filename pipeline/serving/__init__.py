"""A fitted head behind HTTP: batches, limits, metrics, and a page for people."""
