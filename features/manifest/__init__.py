"""The manifest: a dataset's items in order with content hash, label and split; its validation and leakage checks."""
