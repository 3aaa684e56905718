"""Joined stores as dvc runs them: two backbones on one dataset, and pictures, texts and numbers of one item."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from icebox.features.errors import IceboxError
from icebox.pipeline.comparison import evaluate, formats
from icebox.pipeline.config import loader
from icebox.pipeline.inference import fitted_head, predict
from icebox.pipeline.project import paths
from icebox.pipeline.stages import ensemble, extract, fetch, fit, join, look, manifest

PARAMS = """
datasets:
  pictures: {source: image_table, path: items.parquet, image: picture, label: class, split: split, id: name}
  notes: {source: csv_text, path: items.parquet, text: note, label: class, split: split, id: name}
  numbers: {source: features, path: items.parquet, y: class, ids: name}
backbones:
  pixels: {size: 4}
  small: {family: pixels, size: 2}
  hashing: {dimensions: 64}
  as_is: {}
stores:
  pictures-pixels: {dataset: pictures, backbone: pixels}
  pictures-small: {dataset: pictures, backbone: small}
  notes-hashing: {dataset: notes, backbone: hashing}
  numbers-as_is: {dataset: numbers, backbone: as_is}
joined:
  two_networks: {stores: [pictures-pixels, pictures-small]}
  picture_and_note: {stores: [pictures-pixels, notes-hashing]}
  all_three: {stores: [picture_and_note, numbers-as_is]}
heads:
  logreg: {C: 1.0}
  knn: {n_neighbors: 3}
ensembles: {picture_and_note: {members: 2}}
"""
N = 90


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> loader.Config:
    """Items of four classes, of which pictures tell one half, notes the other; and numbers that tell nothing."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    bright, long = np.arange(N) % 2, np.arange(N) // 2 % 2
    for i in range(N):
        values = random.integers(0, 90, (8, 8)) + 150 * bright[i]
        Image.fromarray(values.astype(np.uint8)).save(f"{i}.png")
    table = {
        "name": [f"item{i}" for i in range(N)],
        "picture": [f"{i}.png" for i in range(N)],
        "note": [f"{'long good' if long[i] else 'short bad'} note {i}" for i in range(N)],
        "class": [f"{b}{s}" for b, s in zip(bright, long, strict=True)],
        "split": [("train", "train", "val", "test")[i // 4 % 4] for i in range(N)],
        "weight": random.normal(size=N),
        "height": 1000 * random.normal(size=N),
    }
    pq.write_table(pa.table(table), "items.parquet")
    paths.PARAMS.write_text(PARAMS)
    config = loader.load()
    for name in config.datasets:
        manifest.run(config, name)
    for name in config.backbones:
        fetch.run(config, name)
    for name in config.stores:
        extract.run(config, name)
    return config


def test_a_picture_and_its_note_tell_what_neither_tells_alone(project, capsys):
    join.run(project, "picture_and_note")
    for store in ("pictures-pixels", "notes-hashing", "picture_and_note"):
        fit.run(project, f"{store}/logreg")
    scores = {
        store: json.loads(paths.metrics(store, "logreg").read_text())["test"]["accuracy"]
        for store in ("pictures-pixels", "notes-hashing", "picture_and_note")
    }
    assert scores["picture_and_note"] > 0.9 > 0.7 > max(scores["pictures-pixels"], scores["notes-hashing"])
    details = json.loads(paths.details("picture_and_note", "logreg").read_text())
    assert (details["dataset"], details["backbone"]) == ("pictures", "pixels + hashing")
    card = json.loads(paths.card("picture_and_note", "logreg").read_text())
    assert [each["store"] for each in card["joined"]] == ["pictures-pixels", "notes-hashing"]

    capsys.readouterr()
    opened = predict.open_head("picture_and_note/logreg")
    predict.to_table(opened, ["items.parquet"])
    answers = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    table = pq.read_table("items.parquet").to_pydict()
    assert [row["id"] for row in answers] == table["name"]
    assert np.mean([row["label"] == label for row, label in zip(answers, table["class"], strict=True)]) > 0.9
    of_test = [split == "test" for split in table["split"]]
    pq.write_table(pa.table(table).filter(of_test).drop_columns("split"), "test.parquet")
    evaluation = evaluate.evaluate(opened, ["test.parquet"])
    assert evaluation.scores["accuracy"].value == pytest.approx(scores["picture_and_note"])

    with pytest.raises(IceboxError, match=r"takes items of 2 datasets together.*csv_text \(text: note, id: name\)"):
        predict.to_table(opened, ["0.png"])
    with pytest.raises(IceboxError, match="--source and --set are of one dataset, and this head takes items of sev"):
        opened.reading.with_source(None, ["text=body"])
    head = fitted_head.load("picture_and_note/logreg")
    assert len(head.predict(head.read("items.parquet")[:5])) == 5
    with pytest.raises(IceboxError, match="expected items as `read` gives them"):
        head.predict(["0.png"])


def test_predictions_equal_those_of_the_store(project, capsys):
    """Two backbones of one dataset need one input each, a picture, and give just the features that are stored."""
    join.run(project, "two_networks")
    fit.run(project, "two_networks/logreg")
    capsys.readouterr()
    predict.to_table(predict.open_head("two_networks/logreg"), [f"{i}.png" for i in range(N)])
    by_id = {row["id"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    stored = pq.read_table(paths.predictions("two_networks", "logreg")).to_pydict()
    column = next(name for name in stored if name.startswith("p_"))
    for item_id, probability in zip(stored["item_id"], stored[column], strict=True):
        assert float(by_id[f"{item_id.removeprefix('item')}.png"][column]) == pytest.approx(probability, abs=1e-5)


def test_three_members_ensembles_looks_and_the_leaderboard(project):
    for name in ("picture_and_note", "all_three"):
        join.run(project, name)
        for head in project.heads:
            fit.run(project, f"{name}/{head}")
    ensemble.run(project, "picture_and_note")
    look.run(project, "all_three")
    assert json.loads(paths.look("all_three").read_text())["mapped"] > 10
    table = formats.as_table(formats.records(project, ["all_three", "picture_and_note"]))
    assert "all_three" in table
    assert "ensemble" in table


def test_a_split_that_the_second_lacks_is_told_once(project, caplog):
    join.run(project, "picture_and_note")
    assert caplog.records[-1].levelname != "WARNING"
    table = pq.read_table("items.parquet").to_pydict()
    table["split"] = table["split"][4:] + table["split"][:4]
    pq.write_table(pa.table(table), "items.parquet")
    manifest.run(project, "notes")
    extract.run(project, "notes-hashing")
    join.run(project, "picture_and_note")
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("items lie in another split of 'notes-hashing' (item" in line for line in warned)


PAIRS = """
datasets: {claims: {source: csv_text, path: claims.csv, first: first, second: second, split: {val: 0.2, test: 0.2}}}
backbones: {hashing: {dimensions: 32}, more: {family: hashing, dimensions: 64}}
stores:
  claims-hashing: {dataset: claims, backbone: hashing, pairs: siamese}
  claims-more: {dataset: claims, backbone: more, pairs: siamese}
joined: {claims-both: {stores: [claims-hashing, claims-more]}}
inputs: {claims-both/second: {views: [second]}}
heads: {logreg: {C: 1.0}}
"""


def test_pairs_of_texts_are_seen_as_pairs_by_each_member(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["cat", "dog", "cow", "hen"]
    rows = [(words[i % 4], words[(i + i // 3 % 2) % 4], i) for i in range(120)]
    lines = [f"the {a} number {i},the {b} number {i},{int(a == b)}" for a, b, i in rows]
    Path("claims.csv").write_text("first,second,label\n" + "\n".join(lines) + "\n")
    paths.PARAMS.write_text(PAIRS)
    config = loader.load()
    manifest.run(config, "claims")
    for name in config.backbones:
        fetch.run(config, name)
    for name in config.stores:
        extract.run(config, name)
    join.run(config, "claims-both")
    fit.run(config, "claims-both/logreg")
    fit.run(config, "claims-both/second/logreg")
    assert json.loads(paths.metrics("claims-both", "logreg").read_text())["test"]["accuracy"] > 0.9
    capsys.readouterr()
    predict.to_table(predict.open_head("claims-both/logreg"), ["claims.csv"])
    answers = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    stored = pq.read_table(paths.predictions("claims-both", "logreg")).to_pydict()
    for item_id, probability in zip(stored["item_id"], stored["p_1"], strict=True):
        assert float(answers[int(item_id)]["p_1"]) == pytest.approx(probability, abs=1e-5)
