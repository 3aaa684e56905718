"""Metrics, predictions and the result files of one head."""
