"""The report: one HTML page that opens offline. It holds no clock, host or path: equal results give equal bytes."""

from pathlib import Path

import jinja2

from features import atomic
from pipeline import compare, findings, paths, provenance
from pipeline.config import Config

TEMPLATE = Path(__file__).with_name("report.html.jinja")
CLASSES_MAX = 25  # a larger confusion matrix is a wall of zeros: its commonest pairs are shown instead


def write(config: Config) -> Path:
    """Write the page, whole or not at all, and return where it is."""
    atomic.write_text(paths.REPORT, render(config))
    return paths.REPORT


def render(config: Config) -> str:
    """The page's HTML. Raises IceboxError where metrics are missing or a file is damaged."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,  # labels and texts may hold HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE.name).render(
        sections=findings.collect(config),
        heads={name: config.heads[name] for name in config.select.heads},
        choose=config.fit.choose,
        seed=config.fit.seed,
        classes_max=CLASSES_MAX,
        compared=findings.compared,
        described=compare.described,
        written=provenance.written,
    )
