"""One file = one stage of dvc.yaml, with a `run(config, key)` that `python -m pipeline STAGE KEY` calls."""
