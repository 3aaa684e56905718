"""Scores and predictions of masks and boxes."""
