"""Runtimes of torch networks other than torch itself: one file each, named as in settings."""
