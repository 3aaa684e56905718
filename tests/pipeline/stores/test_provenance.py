"""What can be told of a store that is here, and of one that is not."""

from pathlib import Path

import pytest

from icebox.pipeline.config import loader
from icebox.pipeline.project import paths
from icebox.pipeline.stages import extract, fetch, manifest
from icebox.pipeline.stores import provenance

PARAMS = """
datasets: {digits: {}}
backbones: {pixels: {size: 2}}
stores: {digits-pixels: {dataset: digits, backbone: pixels, input: {labels_per_class: 5}}}
heads: {logreg: {}}
"""


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> loader.Config:
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text(PARAMS)
    return loader.load()


def test_a_store_tells_its_outputs_width_fingerprint_and_what_was_skipped(loaded: loader.Config):
    manifest.run(loaded, "digits")
    fetch.run(loaded, "pixels")
    extract.run(loaded, "digits-pixels")
    collected = provenance.collect(loaded, "digits-pixels")
    assert (collected.outputs, collected.width, collected.skipped, collected.absent) == (["last"], 4, {}, "")
    assert len(collected.fingerprint) == 64
    assert '"size": 2' in collected.spec


def test_without_the_store_its_params_are_told_and_why_the_rest_is_not(loaded: loader.Config):
    collected = provenance.collect(loaded, "digits-pixels")
    assert collected.params["backbones.pixels"] == "{family: pixels, size: 2}"
    assert collected.params["stores.digits-pixels"].endswith("input: {labels_per_class: 5}}")
    assert (collected.labels_per_class, collected.fingerprint) == ("5", "")
    assert "data/stores/digits-pixels: no finished feature store here" in collected.absent


def test_an_absolute_path_keeps_its_last_part_only():
    assert provenance.to_flow_yaml({"path": "/home/me/flowers", "on": [True, None, 0.1]}) == (
        "{path: …/flowers, on: [true, null, 0.1]}"
    )
