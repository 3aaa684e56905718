"""Sketches of the features of new items, and whether these items are still of the kind that a head knows."""
