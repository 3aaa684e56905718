"""What can be done with the features, and in what order? Stages, heads, comparison, report."""
