"""One file = one family of pretrained networks. See base.py for what such a file holds."""
