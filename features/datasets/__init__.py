"""One file = one source of items. See base.py for what such a file holds."""
