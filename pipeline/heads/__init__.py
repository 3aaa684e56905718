"""One file = one family of heads, with a `build(*, …)` that returns a scikit-learn classifier.

Its keywords are the keys of an entry of `heads:` in params.yaml, read without importing the file; so import the
heavy library inside `build`. `seed` is filled in from `fit.seed`.
"""
