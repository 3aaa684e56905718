"""Training a backbone and its head on, end to end."""
