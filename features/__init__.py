"""What does a frozen backbone see in this dataset? From raw items to a feature store, and no further."""
