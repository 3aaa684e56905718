"""Every example of params.yaml on the pages has keys and values that the schema knows."""

import re

import jsonschema
import pytest
from ruamel.yaml import YAML

from docs.builder import site
from icebox.pipeline.config import json_schema

PAGES = {path.stem: path.read_text() for path in sorted(site.DOCS.glob("*.md")) if path.stem != "plugins"}  # run whole
BLOCKS = [
    pytest.param(block, id=f"{page}-{number}")
    for page, text in PAGES.items()
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL))
]


@pytest.fixture(scope="module")
def validator():
    """The schema of params.yaml without its demand that all sections be there."""
    schema = json_schema.schema()
    del schema["required"]
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_satisfies_the_schema(block, validator):
    best = jsonschema.exceptions.best_match(validator.iter_errors(YAML(typ="safe", pure=True).load(block)))
    assert best is None, best.message


def test_an_old_key_is_found(validator):
    assert list(validator.iter_errors({"select": {"stores": ["a"]}}))
    assert list(validator.iter_errors({"stores": {"a": {"dataset": "b", "backbone": "c", "extract": {}}}}))
