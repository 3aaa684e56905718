"""Networks that are trained here: GANs, language models, encoders of small images; their learning rates; glyphs."""
