"""One file = one family of heads, with a `build(*, …)` that follows the protocol of `pipeline/estimators/base.py`."""
