"""The shard cache: rows computed under a fingerprint, here and in a bucket; where they lie; what may go."""
