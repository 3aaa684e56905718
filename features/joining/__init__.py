"""Stores made of stores: the rows of two, joined by item, read side by side."""
