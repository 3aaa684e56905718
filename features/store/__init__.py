"""The feature store: immutable HDF5 shards, their cache and index, reading, verification and compaction."""
