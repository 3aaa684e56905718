"""Images: decoding bytes, resizing, cropping, and the input size that a network expects."""
