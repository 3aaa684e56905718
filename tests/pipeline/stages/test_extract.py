"""`size` and `decode` from params.yaml to the closing line of an extraction."""

import io

import numpy as np
from PIL import Image

from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.cli.app import main
from icebox.pipeline.project import paths

PARAMS = """
datasets:
  photos: {source: image_folder, path: raw}
backbones:
  net: {family: torchvision, model: shufflenet_v2_x0_5, weights: random}
stores:
  photos: {dataset: photos, backbone: net, precision: float32, size: 64, decode: draft}
heads:
  knn: {}
"""


def test_a_draft_says_what_it_costs_and_a_size_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for number in range(4):
        path = tmp_path / "raw" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        pixels = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((800, 600), Image.Resampling.BICUBIC).save(stream, "JPEG")
        path.write_bytes(stream.getvalue())
    (tmp_path / "params.yaml").write_text(PARAMS)
    for command in (["manifest", "photos"], ["fetch", "net"], ["extract", "photos"]):
        assert main(command) == 0
    line = capsys.readouterr().err.splitlines()[-1]
    share = float(line.partition("decode: draft moves features by ")[2].partition("%")[0])
    assert 0 < share < 10
    assert "(4 items tried)" in line
    store = FeatureStore(paths.store("photos"))
    assert store.spec["preprocess"]["crop"] == [64]
    assert store.spec["preprocess"]["decode"] == "draft"
    (tmp_path / "params.yaml").write_text(PARAMS.replace("decode: draft", "decode: exact"))
    assert main(["extract", "photos"]) == 0
    assert "draft" not in capsys.readouterr().err
