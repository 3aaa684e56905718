"""Datasets, frozen backbones and the feature stores made of both: from raw items to the store, and no further."""
