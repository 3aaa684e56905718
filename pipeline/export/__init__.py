"""Exports: one folder with a model from raw item to answer, for programs without Icebox."""
