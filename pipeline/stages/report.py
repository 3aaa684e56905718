"""Stage `report`: the leaderboard, the confusions and the surest mistakes, as one HTML page."""

from icebox.pipeline.config.schema import Config
from icebox.pipeline.report import render


def run(config: Config, key: str | None = None) -> None:
    """Write `reports/index.html` and print where it is."""
    print(render.write(config))


def prepare() -> None:
    """Load what reports need beside this module, for a process that forks one for each report."""
    render.prepare()
