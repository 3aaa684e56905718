"""params.yaml: its schema, loading, and checks across sections."""
