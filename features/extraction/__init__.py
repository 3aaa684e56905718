"""The one pass: items through a frozen backbone into shards."""
