"""Commands on finished stores: info, export, recomputation, provenance."""
