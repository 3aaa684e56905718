"""The HTML report: its sections, charts and thumbnails."""
