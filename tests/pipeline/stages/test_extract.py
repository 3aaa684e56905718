"""`size` and `decode` from params.yaml to the closing line of an extraction."""

import io

import numpy as np
import pytest
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


@pytest.mark.slow
def test_parts_give_the_whole_and_say_that_no_index_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(
        "datasets: {digits: {}}\nbackbones: {pixels: {size: 2}}\nheads: [knn]\n"
        "stores: {digits: {dataset: digits, backbone: pixels, views: [identity, hflip, five-crop]}}\n"
    )
    for command in (["manifest", "digits"], ["fetch", "pixels"]):
        assert main(command) == 0
    for part in ("2/2", "1/2"):
        capsys.readouterr()
        assert main(["extract", "digits", "--part", part]) == 0
        *_, counted, advice = capsys.readouterr().err.splitlines()
        assert f": part {part[0]} of 2, " in counted
        assert advice.endswith("no index is written; when all parts are done, run: icebox extract digits")
        assert not list(paths.store("digits").glob("*"))
    assert main(["extract", "digits", "--engine", "local"]) == 0
    assert ", 0 distinct ones passed" in capsys.readouterr().err.splitlines()[-1]
    assert len(FeatureStore(paths.store("digits")).shards) == 7 * 2
    for part in ("0/16", "17/16", "a/b", "3", "1/0", "-1/4", "1/4/4"):
        assert main(["extract", "digits", "--part", part]) == 1
        assert (
            f"--part: expected K/N with K from 1 to N, and N of at most 100,000, found '{part}'"
            in capsys.readouterr().err
        )
    for part in ("1/" + "9" * 5000, "9" * 5000 + "/9", "1\n/2"):  # int() itself refuses so many digits
        assert main(["extract", "digits", "--part", part]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: --part: expected K/N")
        assert len(line) < 200
