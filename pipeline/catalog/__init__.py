"""From a name in params.yaml to the dataset or backbone it stands for."""
