"""New items for a head, as its dataset's items were read."""
