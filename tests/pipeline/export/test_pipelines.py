"""Exports as a scikit-learn Pipeline: checked, opened by a list of types, and of no code."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.pipeline import Pipeline

import icebox
from icebox.features.errors import IceboxError
from icebox.features.extraction.precision import to_storage_dtype
from icebox.pipeline.cli.app import main
from icebox.pipeline.estimators.alignment import AlignedHead, measure
from icebox.pipeline.estimators.decision import OffsetHead, ThresholdHead
from icebox.pipeline.estimators.ensemble import MeanEnsemble, MeanSets
from icebox.pipeline.export import pipeline_file
from icebox.pipeline.export.export import export
from icebox.pipeline.exported import folder as exported
from icebox.pipeline.exported.pipeline_file import TYPES, read
from icebox.pipeline.exported.stored_format import StoredFormat
from icebox.pipeline.inference import predict
from tests.pipeline.export import test_export as made
from tests.pipeline.export.graph.test_heads import NAMES, blobs, build, plugin_schema, zero_shot


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root, here = tmp_path_factory.mktemp("project"), Path.cwd()
    os.chdir(root)
    try:
        made.photos(root / "photos")
        made.notes(root / "notes.csv")
        for name in ("glyphnet", "words"):
            (root / "data/backbones" / name).mkdir(parents=True)
        made.fit_photos()
        made.fit_notes()
        for name in ("photos-glyphnet", "notes-words"):
            export(f"{name}/head", root / "models" / name, kind="sklearn")
    finally:
        os.chdir(here)
    return root


@pytest.fixture
def here(project, monkeypatch, tmp_path):
    monkeypatch.chdir(project)
    monkeypatch.setenv("ICEBOX_CACHE", str(tmp_path / "cache"))
    return project


ITEMS = {
    "photos-glyphnet": ["photos/dark/0.png", "photos/light/3.png"],
    "notes-words": ["the sea is calm", "", "storm-wind, Zwieback!"],
}


@pytest.mark.parametrize("name", ITEMS)
def test_load_and_the_pipeline_itself_answer_as_the_head(here, monkeypatch, name):
    head, away = icebox.load(f"{name}/head"), icebox.load(f"models/{name}")
    assert away.predict(ITEMS[name]).tolist() == head.predict(ITEMS[name]).tolist()
    expected = head.predict_proba(ITEMS[name])
    np.testing.assert_allclose(away.predict_proba(ITEMS[name]), expected, atol=1e-5)
    items = [str(here / item) if item.endswith("png") else item for item in ITEMS[name]]
    monkeypatch.chdir(here / "models" / name)  # its Encoder names the network's folder relative to its own
    config = json.loads(Path("config.json").read_text())
    pipeline = skops.io.load("pipeline.skops", trusted=config["trusted"])
    np.testing.assert_allclose(pipeline.predict_proba(items), expected, atol=1e-5)
    assert set(config["trusted"]) <= TYPES
    assert (config["check"]["labels"], config["format"]) == ("equal", "sklearn")


def test_the_pipeline_itself_cleans_texts_as_the_head_does(here, tmp_path):
    opened = predict.open_head("notes-words/head")
    cleaning = replace(opened.bundle, clean=["lower"])
    path = tmp_path / "pipeline.skops"
    pipeline_file.write(cleaning, [opened.backbone.prepare("the sea")], opened.backbone, path)
    pipeline = pipeline_file.opened_pipeline(tmp_path, path, tmp_path / "cache")
    shown, lowered = ["The SEA is Calm"], ["the sea is calm"]
    np.testing.assert_array_equal(pipeline.predict_proba(shown), pipeline.predict_proba(lowered))
    assert (pipeline.predict_proba(shown) != icebox.load("notes-words/head").predict_proba(shown)).any()


def test_predict_and_evaluate_take_its_folder_without_the_project(here, monkeypatch, tmp_path, capsys):
    assert main(["predict", "photos-glyphnet/head", "photos/dark"]) == 0
    expected = capsys.readouterr().out
    for name in ("models", "photos", "notes.csv"):
        (shutil.copytree if (here / name).is_dir() else shutil.copy)(here / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "models/photos-glyphnet", "photos/dark"]) == 0
    assert capsys.readouterr().out == expected
    assert main(["evaluate", "models/notes-words", "notes.csv"]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert not (tmp_path / "cache/shards").exists()  # answers of a folder leave nothing behind


@pytest.mark.parametrize("file", ["pipeline.skops", "backbone/weights.safetensors"])
def test_a_file_that_was_changed_is_not_opened(here, tmp_path, file):
    shutil.copytree(here / "models/photos-glyphnet", tmp_path / "model")
    with (tmp_path / "model" / file).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(IceboxError, match="expected sha256"):
        predict.open_head(str(tmp_path / "model"))


class Other:
    """A type that no list has."""


@pytest.mark.parametrize("thing", [Other(), os.path.join, shutil.rmtree, exported.opened])
def test_a_type_outside_of_the_list_is_not_opened_whatever_the_folder_says(here, tmp_path, thing):
    model = tmp_path / "model"
    shutil.copytree(here / "models/photos-glyphnet", model)
    skops.io.dump(Pipeline([("encoder", thing), ("head", thing)]), model / "pipeline.skops")
    config = json.loads((model / "config.json").read_text())
    config["trusted"] += skops.io.get_untrusted_types(file=model / "pipeline.skops")
    (model / "config.json").write_text(json.dumps(config))
    exported.write_manifest(model)
    with pytest.raises(
        IceboxError, match=r"pipeline\.skops: expected types of Icebox, scikit-learn and NumPy .* found"
    ):
        predict.open_head(str(model))


def test_a_network_of_a_family_with_code_is_not_opened(here, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(here / "models/photos-glyphnet", model)
    (model / "backbone/backbone.json").write_text(json.dumps({"family": "module", "build": "evil:make"}))
    exported.write_manifest(model)
    with pytest.raises(IceboxError, match="expected a family whose folder holds no code, found 'module'"):
        predict.open_head(str(model))


@pytest.mark.parametrize("damage", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_a_damaged_file_is_one_line(tmp_path, damage):
    (tmp_path / "pipeline.skops").write_bytes(damage)
    with pytest.raises(IceboxError, match="can't be opened as a Pipeline") as refusal:
        read(tmp_path / "pipeline.skops")
    assert "\n" not in str(refusal.value)


def heads():
    X, y = blobs()
    for name in NAMES:
        tasks = plugin_schema.head_tasks(name)
        if "classification" not in tasks:  # heads of maps
            continue
        yield name, zero_shot().fit(X, y) if name == "zero_shot" else build(name).fit(X, y)
        if "regression" in tasks:
            yield f"{name} of values", build(name, task="regression").fit(X, X @ np.arange(6.0))
        if "multilabel" in tasks:
            sets = build(name, task="multilabel").fit(X, (X > 0).astype(np.int8))
            yield f"{name} of sets", ThresholdHead(sets, np.full(6, 0.4))
    logreg, weights = build("logreg").fit(X, y), np.ones(len(X))
    yield "decided", OffsetHead(logreg, np.array([0.7, 0.0, -0.7]))
    yield "mean", MeanEnsemble([logreg, build("centroid").fit(X, y)], 3)
    sets = build("logreg", task="multilabel").fit(X, (X > 0).astype(np.int8))
    yield "mean of sets", ThresholdHead(MeanSets([sets, ThresholdHead(sets, np.full(6, 0.4))], 6), np.full(6, 0.4))
    yield "aligned", AlignedHead(logreg, "coral", measure("coral", X, weights), measure("coral", 2 * X, weights))
    yield "blocks", build("logreg").set_params(blocks=[(0, 2), (2, 6)]).fit(X, y)


@pytest.mark.slow
def test_every_kind_of_head_is_saved_in_listed_types_or_says_why_not(tmp_path):
    X, _ = blobs()
    refused = []
    for name, head in heads():
        types = skops.io.get_untrusted_types(data=skops.io.dumps(head))
        if not set(types) <= TYPES:
            refused.append(name)
            continue
        skops.io.dump(head, tmp_path / "head.skops")
        np.testing.assert_array_equal(read(tmp_path / "head.skops").predict(X), head.predict(X))
    assert refused == ["rbf_svm", "rbf_svm of values"]  # its kernel is a functools.partial


def test_features_are_rounded_as_the_store_rounds_them():
    X = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    X[1, 3] = 1e6  # too large for float16: its output keeps float32
    step = StoredFormat("float16", widths=[2, 3])
    expected = [to_storage_dtype(row[None], "float16").astype(np.float32) for row in X[:, 2:]]
    np.testing.assert_array_equal(step.transform(X)[:, 2:], np.concatenate(expected))
    np.testing.assert_array_equal(step.transform(X)[:, :2], X[:, :2].astype(np.float16))


def test_what_encoder_can_t_be_asked_for_is_named(here):
    opened = predict.open_head("photos-glyphnet/head").bundle
    for change, reason in (
        ({"family": "module"}, "family module is code, .*"),
        ({"options": {"size": 64}}, "Encoder has no option size"),
        ({"pairs": True}, "not a pair"),
        ({"precision": "int8"}, "in int8"),
    ):
        with pytest.raises(IceboxError, match=f"no sklearn export: .*{reason}; take --format onnx"):
            pipeline_file.refuse(type(opened)(**{**opened.__dict__, **change}))


@pytest.mark.parametrize("name", ["more.safetensors", "1_Pooling/config.json"])
def test_a_network_with_a_file_that_no_hash_vouches_for_is_not_opened(here, tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(here / "models/photos-glyphnet", folder)
    (folder / "backbone" / name).parent.mkdir(exist_ok=True)
    (folder / "backbone" / name).write_bytes(b"{}")
    with pytest.raises(IceboxError, match=f"{name}: is not among the files"):
        predict.open_head(str(folder))
