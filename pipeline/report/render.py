"""The report: one HTML page that opens offline. It holds no clock, host or path: equal results give equal bytes."""

from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup
from PIL import Image

from icebox.features import files
from icebox.pipeline.comparison import formats, leaderboard
from icebox.pipeline.config.schema import Config
from icebox.pipeline.evaluation import formatting
from icebox.pipeline.evaluation.metrics import METRICS
from icebox.pipeline.project import paths
from icebox.pipeline.report import chart_data, sections, training_section
from icebox.pipeline.report.sections import DatasetSection
from icebox.pipeline.stores import provenance

PAGE = Path(__file__).with_name("page")  # templates, style and scripts, and the vendored library that draws the charts
CLASSES_MAX = 25  # a larger confusion matrix is a wall of zeros: its commonest pairs are shown instead


def write(config: Config) -> Path:
    """Write the page, whole or not at all, and return where it is."""
    files.write_text(paths.REPORT, render(config))
    return paths.REPORT


def render(config: Config) -> str:
    """The page's HTML. Raises IceboxError where metrics are missing or a file is damaged."""
    return (
        environment()
        .get_template("index.html.jinja")
        .render(
            sections=sections.collect(config),
            trained=training_section.collect(config),
            heads=config.heads,
            metrics=METRICS,
            seed=config.fit.seed,
            classes_max=CLASSES_MAX,
            asset=asset,
            any_images=any_images,
            chart_data=chart_data.collect,
            format_parameters=leaderboard.format_parameters,
            size=formats.size,
            to_flow_yaml=provenance.to_flow_yaml,
        )
    )


@cache
def environment() -> jinja2.Environment:
    """The templates, translated once a process, which takes 0.1 s.

    Translated ones kept in files would be code that nobody checks: a damaged one crashed Python.
    """
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,  # labels and texts may hold HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {"number": formatting.number, "difference": formatting.signed}
    return templates


def prepare() -> None:
    """Translate all templates, and load the libraries that are imported where they are used."""
    import pyarrow.compute  # noqa: F401
    import scipy.special  # noqa: F401

    for name in environment().list_templates(extensions=["jinja"]):
        environment().get_template(name)
    Image.preinit()


def asset(name: str) -> Markup:
    """A style or script of the page or its library, to be included without escaping."""
    return Markup((PAGE / name).read_text(encoding="utf-8"))


def any_images(section: DatasetSection, item_ids: list[str]) -> bool:
    """Whether any of these items is an image."""
    return any(section.thumbnails.get(item_id).image for item_id in item_ids)
