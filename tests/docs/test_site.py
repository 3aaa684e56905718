"""The docs are built strictly, their links lead somewhere, and the reference has every plugin, section, command."""

import re

import pytest

from docs.builder import links, params, site
from icebox.features import plugins
from icebox.pipeline.cli import app
from icebox.pipeline.config import json_schema, plugin_schema


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the built pages."""
    folder = tmp_path_factory.mktemp("docs")
    assert site.build(folder) == []
    return folder / site.BUILT


def ids(page):
    return links.Page(page).ids


@pytest.mark.slow
def test_every_page_by_hand_is_built_and_can_be_reached(built):
    index = (built / "index.html").read_text()
    for page in (*site.DOCS.glob("*.md"), *site.DOCS.glob("*.ipynb")):
        assert f"{page.stem}.html" in index, page.name


@pytest.mark.parametrize("page", params.CATALOGS)
def test_every_plugin_has_its_section(built, page):
    shown = ids(built / f"reference/{page}.html")
    for package, _, _ in params.CATALOGS[page][2].values():
        assert set(plugins.names(package)) <= shown


def test_every_section_of_params_has_one_of_the_reference(built):
    assert set(json_schema.schema()["properties"]) <= ids(built / "reference/params.html")


def test_every_command_is_in_the_reference(built):
    page = (built / "reference/commands.html").read_text()
    for command in app.app.registered_commands:
        name = command.name or command.callback.__name__
        assert re.search(rf"<code[^>]*>icebox {name}\b", page), name


def test_a_page_without_javascript_or_network_has_its_text(built):
    assert "n_neighbors" in (built / "reference/heads.html").read_text()
    assert "unpkg" not in (built / "index.html").read_text()


@pytest.mark.parametrize(("column", "task"), [("regression", "regression"), ("sets of labels", "multilabel")])
def test_every_head_has_a_row_that_says_whether_it_takes_numbers_and_sets(column, task):
    lines = (site.DOCS / "heads.md").read_text().splitlines()
    header, _, *rows = [[cell.strip() for cell in line.split("|")] for line in lines if line.startswith("|")]
    shown = {row[1].strip("`"): row[header.index(column)] == "yes" for row in rows}
    names = plugins.files("icebox.pipeline.heads")
    assert shown == {name: task in plugin_schema.head_tasks(name) for name in names}
