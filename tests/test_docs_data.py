"""The examples of docs/data.md are valid params, and there is one of every source that takes data from outside."""

import re

import pytest
from ruamel.yaml import YAML

from icebox.features import plugins
from icebox.pipeline.config import loader
from tests.conftest import PROJECT

BLOCKS = re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs/data.md").read_text(), flags=re.DOTALL)
OURS = {"digits", "docstrings"}  # need nothing from outside


def with_example(block: str) -> dict:
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((PROJECT / "params.yaml").read_text())
    for section, entries in yaml.load(block).items():
        params[section] |= entries
    return params


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split("\n")[1].split(":")[0].strip() for block in BLOCKS])
def test_an_example_is_valid_params_and_its_source_accepts_it(block, tmp_path):
    with (tmp_path / "params.yaml").open("w") as stream:
        YAML(typ="safe", pure=True).dump(with_example(block), stream)
    for entry in loader.load(tmp_path / "params.yaml").datasets.values():
        plugins.load("icebox.features.datasets", entry.family).Source(**entry.parameters)


def test_every_source_has_an_example():
    examples = [entry for block in BLOCKS for entry in with_example(block)["datasets"].items()]
    shown = {(entry or {}).get("source", name) for name, entry in examples}
    assert shown - OURS == set(plugins.names("icebox.features.datasets")) - OURS
