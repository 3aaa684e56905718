"""Pretrained weights: where they come from, and how a checkpoint becomes a network without its classifier."""
