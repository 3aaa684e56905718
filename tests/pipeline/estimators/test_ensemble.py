"""The mean of heads that were fitted by the stage, in a project of two classes of notes."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.config import loader
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths
from icebox.pipeline.stages import ensemble, extract, fetch, fit, manifest

PARAMS = """
datasets: {notes: {source: csv_text, path: notes.csv, text: text, label: label}}
backbones: {hashing: {dimensions: 32}}
stores: {notes-hashing: {dataset: notes, backbone: hashing}}
heads: {logreg: {}, knn: {n_neighbors: 3}, linear_svm: {}}
ensembles: {notes-hashing: {members: 2}}
"""


@pytest.fixture
def fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> loader.Config:
    monkeypatch.chdir(tmp_path)
    lines = [f"{('good', 'bad')[i % 2]} thing number {i * 7 % 31},{('plus', 'minus')[i % 2]}" for i in range(80)]
    Path("notes.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    paths.PARAMS.write_text(PARAMS)
    loaded = loader.load()
    manifest.run(loaded, "notes")
    fetch.run(loaded, "hashing")
    extract.run(loaded, "notes-hashing")
    for head in loaded.heads:
        fit.run(loaded, f"notes-hashing-{head}")
    return loaded


def probabilities(head: str) -> np.ndarray:
    table = pq.read_table(paths.predictions("notes-hashing", head))
    return np.column_stack([table[f"p_{name}"].to_pylist() for name in ("minus", "plus")])


def test_it_says_the_mean_of_what_its_members_say_and_its_bundle_says_the_same(fitted):
    ensemble.run(fitted, "notes-hashing")
    ensemble_probabilities = probabilities("ensemble")
    np.testing.assert_allclose(ensemble_probabilities, (probabilities("knn") + probabilities("logreg")) / 2, atol=1e-6)
    details = json.loads(paths.details("notes-hashing", "ensemble").read_text())
    assert sorted(details["ensemble"]) == ["knn", "logreg"]  # the margins of linear_svm are no probabilities
    opened = bundle.load(paths.bundle("notes-hashing", "ensemble"))
    from icebox.features.store.feature_store import FeatureStore

    store = FeatureStore(paths.store("notes-hashing"))
    features = np.concatenate([store.load(split=split) for split in ("val", "test")]).astype(np.float32)
    np.testing.assert_allclose(opened.head.predict_proba(features), ensemble_probabilities, atol=1e-6)


def test_an_ensemble_decides_by_offsets_of_its_own(fitted):
    paths.PARAMS.write_text(PARAMS + "fit: {decide: {costs: {minus: {plus: 1000}}}}\n")
    loaded = loader.load()
    for head in loaded.heads:
        fit.run(loaded, f"notes-hashing-{head}")
    ensemble.run(loaded, "notes-hashing")
    details = json.loads(paths.details("notes-hashing", "ensemble").read_text())
    assert details["offsets"]["minus"] > details["offsets"]["plus"]
    table = pq.read_table(paths.predictions("notes-hashing", "ensemble")).to_pylist()
    largest = {row["item_id"]: row["prediction"] for row in table if row["split"] == "test-argmax"}
    assert all(
        largest[row["item_id"]] == ("plus" if row["p_plus"] > 0.5 else "minus")
        for row in table
        if row["split"] == "test"
    )
    opened = bundle.load(paths.bundle("notes-hashing", "ensemble"))
    from icebox.features.store.feature_store import FeatureStore

    store = FeatureStore(paths.store("notes-hashing"))
    predicted = opened.head.predict(store.load(split="test").astype(np.float32))
    assert [opened.classes[i] for i in predicted] == [row["prediction"] for row in table if row["split"] == "test"]


def test_one_head_with_probabilities_is_no_ensemble(fitted):
    paths.PARAMS.write_text(PARAMS.replace("knn: {n_neighbors: 3}, ", ""))
    with pytest.raises(IceboxError, match=r"expected two heads or more with prob.*, found logreg"):
        ensemble.run(loader.load(), "notes-hashing")
