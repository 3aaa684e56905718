"""A head, and all that stands before it, as one graph of tensors."""
