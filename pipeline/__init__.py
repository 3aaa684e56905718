"""Work on stored features: stages of dvc.yaml, heads, their comparison, the report, the command line."""
