"""Small layers beside a network's own, which are trained in their place."""
