"""Every stage on a million items: its peak memory and its seconds."""
