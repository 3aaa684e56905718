"""Files in buckets (S3, GCS, Azure), named by URLs: listed, read through a bounded cache on this machine, put once."""
