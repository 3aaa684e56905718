"""Training networks from scratch: the loop, checkpoints and learning curves."""
