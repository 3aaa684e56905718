"""Fitting a head: parameter search, cross-validation, refitting, learning curves."""
