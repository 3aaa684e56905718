"""Views from params.yaml to predictions, run as stages."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from icebox.features.abc.dataset import Pair
from icebox.features.manifest import manifest
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import datasets
from icebox.pipeline.cli.app import main
from icebox.pipeline.config import loader
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths
from tests.conftest import make_raw_data

PARAMS = """
datasets:
  photos: {source: image_folder, path: raw/photos}
backbones:
  pixels: {size: 4}
stores:
  photos:
    dataset: photos
    backbone: pixels
    views: [identity, five-crop]
    input: {labels_per_class: all, views: [five-crop.centre, identity]}
heads:
  knn: {n_neighbors: 1}
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_raw_data(tmp_path / "raw")
    (tmp_path / "params.yaml").write_text(PARAMS)
    for command in (["manifest", "photos"], ["fetch", "pixels"], ["extract", "photos"], ["fit", "photos-knn"]):
        assert main(command) == 0
    return tmp_path


def test_heads_and_predictions_see_the_views_asked_for(project, capsys):
    store = FeatureStore(paths.store("photos"))
    assert len(store.views) == 6
    opened = bundle.load(paths.bundle("photos", "knn"))
    assert (opened.view, opened.options) == ("five-crop.centre", {})
    train = (store.splits == "train").sum()
    assert json.loads(paths.metrics("photos", "knn").read_text())["train_n"] == train
    assert opened.head.estimator_[-1].n_samples_fit_ == 2 * train
    capsys.readouterr()
    assert main(["predict", "photos/knn", "raw/photos"]) == 0
    said = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    right = np.mean([line["label"] in line["input"] for line in said])
    assert (len(said), right) == (60, 1.0)


def test_info_names_the_views_and_a_view_is_exported_by_its_name(project, capsys):
    assert main(["store", "info", "photos"]) == 0
    assert "identity, five-crop.top-left, " in capsys.readouterr().out
    assert main(["store", "export", "photos", "--to", "centre.npy", "--view", "five-crop.centre"]) == 0
    store = FeatureStore(paths.store("photos"))
    np.testing.assert_array_equal(np.load("centre.npy"), store.load(output="last", view="five-crop.centre"))
    assert main(["store", "verify", "--recompute"]) == 0


PAIRS = """
datasets:
  pairs: {source: csv_text, path: pairs.csv, first: a, second: b, label: same}
backbones:
  hashing: {dimensions: 64}
stores:
  pairs: {dataset: pairs, backbone: hashing, pairs: siamese}
heads:
  knn: {n_neighbors: 1}
"""


@pytest.fixture
def of_pairs(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    words = ("cat", "dog", "bird", "fish", "fox", "owl", "bear", "wolf")
    lines = [f"{one},{other},{'yes' if one == other else 'no'}" for one in words for other in words]
    lines += [f"the {one},the {one},yes" for one in words] * 4
    (tmp_path / "pairs.csv").write_text("\n".join(["a,b,same", *lines]) + "\n")
    (tmp_path / "params.yaml").write_text(PAIRS)
    return tmp_path


def test_siamese_pairs_pass_each_distinct_text_once_and_predict_takes_two_texts_a_line(of_pairs, capsys):
    for command in (["manifest", "pairs"], ["fetch", "hashing"], ["extract", "pairs"], ["fit", "pairs-knn"]):
        assert main(command) == 0
    assert "96 pairs hold 192 texts, 16 distinct: 176 passes saved" in capsys.readouterr().err
    store = FeatureStore(paths.store("pairs"))
    assert sum(entry.rows for entry in store.index.shards) == 16
    assert store.load().shape == (96, 4 * 64)
    assert bundle.load(paths.bundle("pairs", "knn")).view == "pair"
    Path("new.txt").write_text("the dog\tthe dog\ncat\tbird\n")
    assert main(["predict", "pairs/knn", "new.txt"]) == 0
    said = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [line["label"] for line in said] == ["yes", "no"]
    Path("new.txt").write_text("the dog\n")
    assert main(["predict", "pairs/knn", "new.txt"]) == 1
    assert (
        "new.txt, line 1: expected 2 texts (a, b) with a tab between them, found 1: 'the dog'"
        in capsys.readouterr().err
    )


def of_table(row: manifest.ManifestRow) -> Pair:
    """The pair behind a row."""
    return datasets.source(loader.load(), "pairs").read(row.source)


def test_pairs_pass_as_one_input_unless_told_otherwise_and_predict_takes_them_so(of_pairs, capsys):
    Path("params.yaml").write_text(PAIRS.replace(", pairs: siamese", ""))
    for command in (["manifest", "pairs"], ["fetch", "hashing"], ["extract", "pairs"], ["fit", "pairs-knn"]):
        assert main(command) == 0
    assert FeatureStore(paths.store("pairs")).load().shape == (96, 64)
    capsys.readouterr()
    known = [row for row in manifest.read(paths.manifest("pairs")) if row.split == "train"][::9]
    Path("new.txt").write_text("".join(f"{pair.first}\t{pair.second}\n" for pair in map(of_table, known)))
    assert main(["predict", "pairs/knn", "new.txt"]) == 0
    said = [line["label"] for line in csv.DictReader(capsys.readouterr().out.splitlines())]
    assert said == [row.label for row in known]  # each is its own nearest neighbour
    assert set(said) == {"yes", "no"}
    Path("new.txt").write_text("the dog\n")
    assert main(["predict", "pairs/knn", "new.txt"]) == 1
    assert "new.txt, line 1: expected 2 texts (a, b)" in capsys.readouterr().err


def test_predict_cleans_texts_as_those_were_that_the_head_has_learnt_from(of_pairs, capsys):
    cleaning = PAIRS.replace("label: same", "label: same, clean: [mentions, repeats]")
    Path("params.yaml").write_text(cleaning.replace(", pairs: siamese", ""))
    Path("pairs.csv").write_text(Path("pairs.csv").read_text().replace("cat", "@some1").replace("dog", "doooog"))
    for command in (["manifest", "pairs"], ["fetch", "hashing"], ["extract", "pairs"], ["fit", "pairs-knn"]):
        assert main(command) == 0
    texts = [str(of_table(row)) for row in manifest.read(paths.manifest("pairs"))]
    assert not any("ooo" in text or "some1" in text for text in texts)
    capsys.readouterr()
    Path("new.txt").write_text("@other\tdooog\n@user\tdoog\n")
    assert main(["predict", "pairs/knn", "new.txt"]) == 0
    one, same = csv.DictReader(capsys.readouterr().out.splitlines())
    del one["id"], same["id"]
    assert one == same
    assert bundle.load(paths.bundle("pairs", "knn")).clean == ["mentions", "repeats"]


def test_siamese_asks_for_a_dataset_of_pairs(of_pairs, capsys):
    Path("params.yaml").write_text(PAIRS.replace("first: a, second: b", "text: a"))
    assert main(["manifest", "pairs"]) == main(["fetch", "hashing"]) == 0
    assert main(["extract", "pairs"]) == 1
    assert "stores.pairs: pairs: siamese needs pairs; dataset 'pairs' holds texts" in capsys.readouterr().err
