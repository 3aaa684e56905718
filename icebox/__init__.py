"""Icebox: pass a dataset once through frozen backbones; then train, swap and compare heads from the stored features."""
