"""Checks across sections of params.yaml, before anything runs."""
