"""The precision of a store's entry, of backbones that compute in none but their own."""

from pathlib import Path

import pytest

from icebox.features.datasets.digits import Source
from icebox.pipeline.catalog import backbones
from icebox.pipeline.config import loader
from icebox.pipeline.project import paths

PARAMS = """\
datasets: {{digits: }}
backbones: {{floor: {{family: pixels, size: 8}}}}
stores: {{s: {{dataset: digits, backbone: floor, precision: {precision}}}}}
heads: [logreg]
"""


@pytest.mark.parametrize(("precision", "is_told"), [("bfloat16", True), ("float32", False), ("auto", False)])
def test_a_precision_that_makes_no_difference_is_told(tmp_path: Path, monkeypatch, caplog, precision, is_told) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS.format(precision=precision))
    paths.backbone("floor").mkdir(parents=True)
    (paths.backbone("floor") / "backbone.json").write_text('{"family": "pixels", "size": 8, "grey": true}')
    loaded = backbones.load_for_store(loader.load(), "s", Source(), [])
    assert loaded.spec["precision"] == "float32"
    lines = [line for line in caplog.messages if "makes no difference" in line]
    assert len(lines) == is_told
    assert not is_told or "stores.s.precision: bfloat16 makes no difference: backbone 'floor' (pixels)" in lines[0]
