"""Building blocks of heads: preprocessing, linear models, torch modules, ensembles."""
