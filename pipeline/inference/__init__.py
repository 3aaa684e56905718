"""Saved heads (bundles) and predictions for new items."""
