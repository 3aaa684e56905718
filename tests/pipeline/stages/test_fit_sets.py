"""The stages as dvc runs them on notes with several labels each: fitted, scored, compared, predicted, reported."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from icebox.features import label_sets
from icebox.features.errors import IceboxError
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.comparison import evaluate, formats
from icebox.pipeline.config import loader
from icebox.pipeline.data import labelled
from icebox.pipeline.evaluation import prediction_file
from icebox.pipeline.evaluation.predictions import predict_sets
from icebox.pipeline.fitting import decisions
from icebox.pipeline.inference import bundle, fitted_head, predict
from icebox.pipeline.project import paths
from icebox.pipeline.report import render
from icebox.pipeline.stages import ensemble, extract, fetch, fit, look, manifest

PARAMS = """
datasets:
  notes:
    {source: csv_text, path: notes.csv, task: multilabel, label: {column: tags, sep: '|'},
     split: {val: 0.3, test: 0.3, stratify: true}}
backbones: {hashing: {dimensions: 64}}
stores: {notes-hashing: {dataset: notes, backbone: hashing}}
heads: {logreg: {C: [0.1, 10.0]}, ridge: {}}
"""
WORDS = {"red": "cherry ", "green": "lime ", "blue": "sky "}
TEXTS = ("cherry cherry cherry lime lime lime note", "sky sky sky note")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> loader.Config:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    lines = []
    for i in range(160):
        tags = [tag for tag in WORDS if random.random() < 0.4]
        lines.append(f"{' '.join(3 * WORDS[tag] for tag in tags)} note {i},{'|'.join(tags)}")
    Path("notes.csv").write_text("\n".join(["text,tags", *lines]) + "\n")
    paths.PARAMS.write_text(PARAMS)
    loaded = loader.load()
    manifest.run(loaded, "notes")
    fetch.run(loaded, "hashing")
    extract.run(loaded, "notes-hashing")
    return loaded


def test_sets_are_fitted_scored_predicted_evaluated_compared_and_reported(project, capsys):
    for head in ("logreg", "ridge"):
        fit.run(project, f"notes-hashing-{head}")
    metrics = json.loads(paths.metrics("notes-hashing", "logreg").read_text())
    names = {"n", "mean_ap", "label_f1_macro", "label_f1_micro", "ranking_loss", "exact_match"}
    assert set(metrics["test"]) == set(metrics["val"]) == names
    assert metrics["test"]["mean_ap"] > 0.8
    assert set(metrics["recall"]) == set(WORDS)
    details = json.loads(paths.details("notes-hashing", "logreg").read_text())
    assert (details["task"], details["choose"], set(details["thresholds"])) == ("multilabel", "mean_ap", set(WORDS))
    assert set(details["by_class"]["test"][0]) == {"class", "n", "precision", "recall", "f1", "ap"}
    table = pq.read_table(paths.predictions("notes-hashing", "ridge"))
    expected = ["item_id", "split", "label", "prediction", "score_blue", "score_green", "score_red"]
    assert table.column_names == expected
    assert {name for label in table["prediction"].to_pylist() for name in label_sets.split(label)} == set(WORDS)
    assert paths.plot("notes-hashing", "logreg", "roc").read_text().count("\n") == 1

    Path("new.csv").write_text(f"text,tags\n{TEXTS[0]},red|green\nnote,\nlime lime lime sky sky sky note,blue|green\n")
    capsys.readouterr()
    head = predict.open_head("notes-hashing/logreg")
    predict.to_table(head, ["new.csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [label_sets.split(row["label"]) for row in rows] == [("green", "red"), (), ("blue", "green")]
    assert list(rows[0]) == ["id", "input", "label", "p_blue", "p_green", "p_red"]
    evaluation = evaluate.evaluate(head, ["new.csv"], out=Path("out.csv"))
    assert evaluation.scores["exact_match"].value == 1
    assert [row["class"] for row in evaluation.classes] == ["blue", "green", "red"]
    assert json.loads(evaluation.as_json())["confusion"] == []
    assert list(csv.DictReader(io.StringIO(Path("out.csv").read_text())))[1]["actual"] == "[]"
    Path("new.csv").write_text("text,tags\ncherry lime,red|pink\nsky,blue\n")
    with pytest.raises(IceboxError, match="its label 'pink' is no class of the head"):
        evaluate.evaluate(head, ["new.csv"])
    assert evaluate.evaluate(head, ["new.csv"], unknown_labels="skip").n == 1
    assert evaluate.evaluate(head, ["new.csv"], unknown_labels="wrong").n == 2
    with pytest.raises(IceboxError, match="sets are of an item's classes, which only classification has"):
        predict.set_predictor(head, coverage=0.9, by_class=False)

    opened = fitted_head.load("notes-hashing/logreg")
    assert opened.predict([*TEXTS]).tolist() == [
        [0, 1, 1],
        [1, 0, 0],
    ]
    assert opened.predict_proba(["sky"]).shape == (1, 3)

    records = formats.records(project)
    assert [record["metric"] for record in records] == ["mean_ap"] * 2
    assert all(record["test_low"] < record["test_mean_ap"] < record["test_high"] for record in records)
    assert records[1]["p_of"] == "flip test"
    text = formats.as_table(records)
    assert "mAP on" in text
    assert "always “the labels' shares”" in text
    assert 0 < records[0]["reference_score"] < 0.6

    look.run(project, "notes-hashing")
    page = render.render(project)
    assert "By label on test" in page
    assert "green, red" in page or "blue, green" in page
    assert "[&#34;" not in page.split("<script")[0]


def test_an_ensemble_of_sets_answers_by_mean_probabilities_and_thresholds_of_its_own(project, monkeypatch):
    heads = "{logreg: {C: 10.0}, knn: {n_neighbors: 5}, linear_probe: {learning_rate: 0.01}, ridge: {}}"
    text = PARAMS.replace("{logreg: {C: [0.1, 10.0]}, ridge: {}}", heads)
    paths.PARAMS.write_text(f"{text}ensembles: {{notes-hashing: {{members: 2}}}}\n")
    config = loader.load()
    for head in config.heads:
        fit.run(config, f"notes-hashing-{head}")
    ensemble.run(config, "notes-hashing")

    scores = {
        head: json.loads(paths.metrics("notes-hashing", head).read_text()) for head in (*config.heads, "ensemble")
    }
    ranked = sorted(("logreg", "knn", "linear_probe"), key=lambda head: -scores[head]["val"]["mean_ap"])
    details = json.loads(paths.details("notes-hashing", "ensemble").read_text())
    assert (details["task"], details["choose"], details["ensemble"]) == ("multilabel", "mean_ap", ranked[:2])
    assert [each["mean_ap"] for each in details["search"]] == [scores[head]["val"]["mean_ap"] for head in ranked]
    stored = {head: prediction_file.read(paths.predictions("notes-hashing", head)) for head in (*ranked, "ensemble")}
    for split in ("val", "test"):
        mean = np.mean([stored[head].splits[split].scores.astype(float) for head in ranked[:2]], axis=0)
        np.testing.assert_array_equal(stored["ensemble"].splits[split].scores, mean.astype(np.float32))
    val, test = (stored["ensemble"].splits[split] for split in ("val", "test"))
    thresholds = np.array(list(details["thresholds"].values()))
    chosen = [decisions.best_threshold(val.scores[:, i], val.labels[:, i], plain=0.5) for i in range(3)]
    np.testing.assert_array_equal(thresholds, chosen)
    np.testing.assert_array_equal(test.predicted, test.scores > thresholds)
    np.testing.assert_array_equal(val.predicted, val.scores > 0.5)  # as of single heads: not flattered by thresholds

    opened = bundle.load(paths.bundle("notes-hashing", "ensemble"))
    store = FeatureStore(paths.store("notes-hashing"))
    answers = predict_sets(opened.head, store.load(split="test").astype(np.float32))
    np.testing.assert_allclose(answers.scores, test.scores, atol=1e-6)
    assert fitted_head.load("notes-hashing/ensemble").predict([*TEXTS]).tolist() == [[0, 1, 1], [1, 0, 0]]
    record = next(each for each in formats.records(config) if each["head"] == "ensemble")
    assert record["test_mean_ap"] == scores["ensemble"]["test"]["mean_ap"]
    assert "logreg" in render.render(config)

    with paths.PARAMS.open("a") as params:
        params.write("fit: {decide: {recall: {rde: 0.9}}}\n")
    with pytest.raises(
        IceboxError, match=r"^ensembles.notes-hashing: decide: recall: no class named 'rde'; did you mean"
    ):
        ensemble.run(loader.load(), "notes-hashing")


def test_the_few_label_curve_takes_so_many_items_of_each_label(project):
    text = PARAMS + "fit: {labels_per_class: [4, all], seeds: 2, folds: 3}\n"
    paths.PARAMS.write_text(text)
    fit.run(loader.load(), "notes-hashing-logreg")
    details = json.loads(paths.details("notes-hashing", "logreg").read_text())
    few, all_labels = details["labels"]
    assert few["train_n"] < 20 < all_labels["train_n"]
    assert len(few["draws"]) == 2
    assert details["chosen_on"] == "3-fold in train"


def test_a_store_gives_sets_as_columns_and_refuses_labels_that_train_lacks(project):
    store = FeatureStore(paths.store("notes-hashing"))
    data = labelled.load(store, task="multilabel")
    assert data.classes == ["blue", "green", "red"]
    for name, split in data.splits.items():
        texts = [label_sets.split(label) for label in store.labels[store.items(name)]]
        assert [tuple(data.classes[i] for i in np.flatnonzero(row)) for row in split.labels] == texts
    store.__dict__["labels"] = np.where(store.splits == "test", '["pink"]', store.labels)
    with pytest.raises(IceboxError, match="every label to have items in train, found none of pink"):
        labelled.load(store, task="multilabel")
    store.__dict__["labels"] = np.where(store.splits == "x", "", '["blue"]')
    with pytest.raises(IceboxError, match=r"two labels or more in train .*, found blue; one label is a classification"):
        labelled.load(store, task="multilabel")
