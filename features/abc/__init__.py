"""Abstract base classes: the interfaces that a dataset and a backbone implement."""
