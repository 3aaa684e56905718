"""One file per source of items; features/abc/dataset.py says what such a file holds."""
