"""Texts: cleaning, tokenization, token-budget batches, pairs."""
