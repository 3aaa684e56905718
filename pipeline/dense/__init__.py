"""Heads of dense tasks: fitted on cells of feature maps, or on whole maps, and scored at the pictures' own size."""
