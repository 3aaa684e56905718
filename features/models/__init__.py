"""Networks that are trained here: GANs, language models, encoders of small images; and the glyphs for glyphnet."""
