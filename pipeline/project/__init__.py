"""A project's folder: where files lie, and stamps of the code that made them."""
