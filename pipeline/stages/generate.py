"""Stage `generate@BACKBONE`: sheets of new items in `results/samples/BACKBONE/`, and beside it their scores."""

import json
import logging

from icebox.features import files
from icebox.features.errors import IceboxError
from icebox.pipeline.catalog import datasets
from icebox.pipeline.config.schema import Config
from icebox.pipeline.generation import contact_sheet, generate, scoring
from icebox.pipeline.project import paths

logger = logging.getLogger("icebox")


def run(config: Config, key: str) -> None:
    """Write the sheets and the scores."""
    if key not in config.generate:
        raise IceboxError(f"generate: '{key}' has no entry under generate: in params.yaml; add one, or say --out DIR")
    options = config.generate[key]
    report = scoring.score(
        key,
        options,
        generate.load_generator(config, key),
        generate.load_judge(config, options.judge),
        datasets.examples(config, options.data),
    )
    for name, rows in report.sheets.items():
        contact_sheet.write(paths.samples(key) / f"{name}.png", rows)
    files.write_text(paths.generated(key), json.dumps(report.scores, indent=2) + "\n")
    logger.info("%s: %s", key, ", ".join(f"{name} {score}" for name, score in report.scores.items()))
