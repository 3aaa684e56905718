"""Fitting a head: candidates, search, cross-validation, the final fit, learning curves."""
