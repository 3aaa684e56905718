"""Exploring a store: map of the features, nearest items, suspected label errors."""
