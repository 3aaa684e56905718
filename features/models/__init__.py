"""Networks that are trained here: small image encoders, GANs, language models; and the glyphs they learn from."""
