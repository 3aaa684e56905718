"""Tables of text and numbers in files: CSV, TSV, JSON, Parquet; the items that their rows make."""
