"""Stage `report`: the leaderboard, the confusions and the surest mistakes, as one HTML page."""

from pipeline import report
from pipeline.config import Config


def run(config: Config, key: str | None = None) -> None:
    """Write `reports/index.html` and print where it is."""
    print(report.write(config))
