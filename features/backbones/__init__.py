"""One file per family of pretrained networks; features/abc/backbone.py says what such a file holds."""
