"""Classes by what their names mean: on embeddings made by hand, of which the right answers are known."""

import html
import json
import shutil
from pathlib import Path

import joblib
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import save_file
from sklearn.metrics import log_loss

from icebox.features.abc.backbone import TextTower
from icebox.features.errors import IceboxError
from icebox.pipeline.catalog import backbones
from icebox.pipeline.catalog.class_vectors import ClassTexts, of_file
from icebox.pipeline.comparison import formats, leaderboard
from icebox.pipeline.config import loader
from icebox.pipeline.estimators.torch_conversion import as_torch
from icebox.pipeline.heads import linear_probe, zero_shot
from icebox.pipeline.inference import predict
from icebox.pipeline.project import paths
from icebox.pipeline.report import render
from icebox.pipeline.stages import check, extract, fetch, fit, manifest

CLASSES = ["cat", "dog", "grey_wolf"]
D = 16
DVC_YAML = Path(__file__).parents[3] / "dvc.yaml"


class Letters:
    """A text tower that counts how often letters occur: `cat` and `a cat` have known vectors."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def prepare(self, text: str) -> np.ndarray:
        self.texts.append(text)
        return np.array([text.count(letter) for letter in "catdogreywlf "], np.float32)

    def encode(self, prepared: list[np.ndarray]) -> dict[str, np.ndarray]:
        return {"embedding": np.stack(prepared)}


def class_texts(
    scale: float | None = None, bias: float = 0.0, classes: list[str] = CLASSES
) -> tuple[ClassTexts, Letters]:
    letters = Letters()
    return ClassTexts(classes, lambda: TextTower(letters, scale, bias)), letters  # type: ignore[arg-type]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def directions(k: int = 3) -> np.ndarray:
    return unit(np.random.default_rng(0).normal(size=(k, D)))


def items(n: int, *, noise: float, seed: int, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Items (n, d) near the directions of their classes, of lengths that mean nothing."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % k
    X = (directions(k)[y] + noise * random.normal(size=(n, D))) * random.uniform(0.5, 20, (n, 1))
    return X.astype(np.float32), y


def test_a_classs_vector_is_the_mean_of_its_texts_each_at_length_one_and_is_computed_once():
    texts, letters = class_texts()
    vectors = texts.vectors(templates=["{}", "a {}"], names={"dog": "good dog"}, file=None).vectors
    assert letters.texts[:4] == ["cat", "a cat", "good dog", "a good dog"]
    assert letters.texts[4] == "grey wolf"  # underscores are blanks
    each = unit(np.stack([letters.prepare("cat"), letters.prepare("a cat")]))
    np.testing.assert_allclose(vectors[0], unit(each.mean(0)), rtol=1e-6)
    count = len(letters.texts)
    texts.vectors(templates=["{}", "a {}"], names={"dog": "good dog"}, file=None)
    assert len(letters.texts) == count


@pytest.mark.parametrize(("scale", "own", "taken"), [(None, None, 100), (20.0, None, 20), (20.0, 5.0, 5)])
def test_logits_are_the_scaled_cosine_and_the_bias(scale, own, taken):
    texts, letters = class_texts(scale, bias=-3.0)
    X = np.random.default_rng(0).normal(size=(5, 13)).astype(np.float32)
    head = zero_shot.build(templates=["{}"], logit_scale=own, class_texts=texts).fit(X, np.zeros(5))
    vectors = unit(np.stack([letters.prepare(text) for text in ("cat", "dog", "grey wolf")]))
    logits = taken * unit(X) @ vectors.T - 3
    np.testing.assert_allclose(head.decision_function(X), logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(head.predict(X), logits.argmax(1))  # all classes, though train has one only
    np.testing.assert_allclose(as_torch(head)(__import__("torch").from_numpy(X)).detach(), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_it_answers_rightly_and_survives_being_saved(k, tmp_path):
    np.save(tmp_path / "vectors.npy", directions(k))
    texts, _ = class_texts(classes=[f"c{i}" for i in range(k)])
    X, y = items(60, noise=0.05, seed=1, k=k)
    head = zero_shot.build(vectors=tmp_path / "vectors.npy", class_texts=texts).fit(X, y)
    np.testing.assert_array_equal(head.predict(X), y)
    np.testing.assert_allclose(head.predict_proba(X).sum(1), 1, rtol=1e-6)
    joblib.dump(head, tmp_path / "head")
    np.testing.assert_array_equal(joblib.load(tmp_path / "head").predict(X), y)


def test_vectors_of_every_kind_of_file_are_the_same(tmp_path):
    vectors = dict(zip(CLASSES, directions().astype(np.float32), strict=True))
    np.save(tmp_path / "v.npy", directions() * 3)
    np.savez(tmp_path / "v.npz", **vectors, logit_scale=np.float32(12.5), logit_bias=-2.0)
    save_file({**vectors, "other": np.ones((2, 2), np.float32)}, tmp_path / "v.safetensors")
    for name in ("v.npy", "v.npz", "v.safetensors"):
        np.testing.assert_allclose(of_file(tmp_path / name, CLASSES).vectors, directions(), rtol=1e-5)
    assert (of_file(tmp_path / "v.npz", CLASSES).scale, of_file(tmp_path / "v.npz", CLASSES).bias) == (12.5, -2.0)
    several = np.stack([2 * directions()[0], directions()[1]])
    np.savez(tmp_path / "w.npz", **{**vectors, "cat": several})
    np.testing.assert_allclose(of_file(tmp_path / "w.npz", CLASSES).vectors[0], unit(unit(several).mean(0)), rtol=1e-5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"cat": np.ones(4), "dog": np.ones(4)}, "no array for the class 'grey_wolf'"),
        ({"cat": np.ones(4), "dog": np.ones(5), "grey_wolf": np.ones(4)}, "'dog' has 5 numbers and 'cat' 4"),
        ({"cat": np.ones(4), "dog": np.zeros(4), "grey_wolf": np.ones(4)}, "'dog': expected numbers that are finite"),
        ({"cat": np.ones(4), "dog": np.full(4, np.nan), "grey_wolf": np.ones(4)}, "'dog': expected numbers that are"),
        ({"cat": np.ones(4), "dog": np.array(["x"]), "grey_wolf": np.ones(4)}, r"'dog': expected numbers \(d,\)"),
    ],
)
def test_a_file_that_does_not_hold_the_classes_is_refused_in_one_line(arrays, message, tmp_path):
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(IceboxError, match=rf"^vectors: [^\n]*v\.npz: {message}[^\n]*$"):
        of_file(tmp_path / "v.npz", CLASSES)


def test_other_wrong_settings_are_refused_in_one_line(tmp_path):
    texts, _ = class_texts()
    np.save(tmp_path / "v.npy", np.ones((2, 4)))
    for settings, message in (
        ({"vectors": tmp_path / "v.npy"}, r"expected \(3, d\), a row a class, cat, dog, grey_wolf"),
        ({"vectors": tmp_path / "v.txt"}, r"expected one of \.npy, \.npz, \.safetensors, found '\.txt'"),
        ({"vectors": tmp_path / "missing.npy"}, "missing.npy"),
        ({"templates": ["a photo"]}, "expected {} where the class's name stands, found 'a photo'"),
        ({"names": {"wolf": "wolf"}}, "names: no class 'wolf'"),
    ):
        for build in (zero_shot.build, lambda **more: linear_probe.build(start="zero_shot", scale="l2", **more)):
            with pytest.raises(IceboxError, match=rf"^[^\n]*{message}[^\n]*$"):
                build(class_texts=texts, **settings)
    for settings, message in (
        ({"start": "zero_shot"}, "set scale: l2"),
        ({"start": "zero_shot", "scale": "l2", "pca": 3}, "leave pca out"),
        ({"start": "zero_shot", "scale": "l2", "task": "regression"}, "one class each"),
        ({"names": {"dog": "dog"}}, "are for start: zero_shot"),
    ):
        with pytest.raises(IceboxError, match=rf"^[^\n]*{message}[^\n]*$"):
            linear_probe.build(class_texts=texts, **settings)
    with pytest.raises(ValueError, match=r"vectors of classes have 13 numbers and items 4"):
        zero_shot.build(class_texts=texts).fit(np.ones((3, 4)), np.arange(3))


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.slow
def test_from_one_label_a_class_a_probe_that_begins_from_the_texts_is_better(k, tmp_path):
    np.save(tmp_path / "vectors.npy", directions(k))
    texts, _ = class_texts(classes=[f"c{i}" for i in range(k)])
    test, labels = items(2000, noise=0.3, seed=99, k=k)
    warm_loss, cold_loss, warm_right, cold_right = [], [], [], []
    for seed in range(5):
        X, y = items(k, noise=0.3, seed=seed, k=k)
        settings = {"scale": "l2", "class_texts": texts, "weight_decay": 0.01}
        warm = linear_probe.build(start="zero_shot", vectors=tmp_path / "vectors.npy", **settings).fit(X, y)
        cold = linear_probe.build(**settings).fit(X, y)
        warm_right.append(warm.score(test, labels))
        cold_right.append(cold.score(test, labels))
        warm_loss.append(log_loss(labels, warm.predict_proba(test)))
        cold_loss.append(log_loss(labels, cold.predict_proba(test)))
    assert np.mean(warm_right) > np.mean(cold_right) + 0.05
    assert min(np.subtract(warm_right, cold_right)) > 0


def test_a_probe_that_may_not_move_is_the_head_zero_shot_and_one_that_may_fits_its_labels(tmp_path):
    np.save(tmp_path / "vectors.npy", directions())
    texts, _ = class_texts()
    X, y = items(90, noise=0.8, seed=3)
    file = {"vectors": tmp_path / "vectors.npy", "class_texts": texts}
    head = zero_shot.build(**file).fit(X, y)
    far, near = (
        linear_probe.build(start="zero_shot", scale="l2", weight_decay=decay, learning_rate=0.03, **file).fit(X, y)
        for decay in (0.0, 1e6)
    )
    np.testing.assert_allclose(near.estimator_.coef_, head.estimator_.coef_, atol=0.1)
    assert far.score(X, y) > head.score(X, y)


PARAMS = """
datasets: {vectors: {source: features, path: items.npz}}
backbones: {as_is: {}}
stores: {vectors-as_is: {dataset: vectors, backbone: as_is}}
heads:
  zero_shot: {vectors: classes.npz}
  few: {family: linear_probe, start: zero_shot, scale: l2, vectors: classes.npz}
  logreg: {C: 1.0}
"""


def prepare(params: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> loader.Config:
    monkeypatch.chdir(folder)
    X, y = items(240, noise=0.1, seed=5)
    np.savez("items.npz", X=X, y=np.array(CLASSES)[y])
    np.savez("classes.npz", **dict(zip(CLASSES, directions(), strict=True)))
    paths.PARAMS.write_text(params)
    config = loader.load()
    manifest.run(config, "vectors")
    fetch.run(config, next(iter(config.backbones)))
    extract.run(config, next(iter(config.stores)))
    return config


def test_it_stands_on_the_leaderboard_and_predicts_without_the_file(tmp_path, monkeypatch, capsys):
    config = prepare(PARAMS, monkeypatch, tmp_path)
    for head in config.heads:
        fit.run(config, f"vectors-as_is-{head}")
        assert json.loads(paths.metrics("vectors-as_is", head).read_text())["test"]["accuracy"] == 1.0
    stamp = check.settings(config)["heads"]["zero_shot"]["files"]
    np.savez("classes.npz", **dict(zip(CLASSES, -directions(), strict=True)))
    assert check.settings(config)["heads"]["zero_shot"]["files"] != stamp
    Path("classes.npz").unlink()
    shutil.rmtree("data/backbones/as_is/__pycache__", ignore_errors=True)
    X, y = items(9, noise=0.1, seed=6)
    np.savez("new.npz", X=X)
    predict.to_table(predict.open_head("vectors-as_is/zero_shot"), ["new.npz"])
    table = capsys.readouterr().out.splitlines()[1:]
    assert [next(label for label in CLASSES if f",{label}," in f",{line},") for line in table] == [
        CLASSES[i] for i in y
    ]
    assert pq.read_table(paths.predictions("vectors-as_is", "zero_shot")).num_rows > 0


NOT_APPLICABLE = {  # head → (its settings, why this store can't have it)
    "named": ("{family: zero_shot}", "backbone 'as_is' (as_is) has no text tower"),
    "begun": ("{family: linear_probe, start: zero_shot, scale: l2}", "has no text tower"),
    "other": ("{family: zero_shot, vectors: other.npz}", "vectors of classes have 3 numbers and items 16"),
    "near": (
        "{family: linear_probe, start: zero_shot, scale: l2, vectors: other.npz, weight_decay: [0.1, 0.01]}",
        "have 3 numbers",
    ),
    "table": ("{family: tabpfn, weights: classes.npz, max_columns: 3}", "takes at most 3 columns, found 16"),
}


def test_a_head_that_a_store_can_not_have_is_passed_over_and_said(tmp_path, monkeypatch, caplog):
    heads = "".join(f"  {name}: {settings}\n" for name, (settings, _) in NOT_APPLICABLE.items())
    config = prepare(PARAMS[: PARAMS.index("  zero_shot:")] + heads + "  logreg: {C: 1.0}\n", monkeypatch, tmp_path)
    np.savez("other.npz", **{name: np.ones(3) for name in CLASSES})
    store = "vectors-as_is"
    outs = {out.replace("${item.store}", store) for out in outputs_of_fit()}
    for head in config.heads:
        fit.run(config, f"{store}-{head}")
        assert all(Path(out.replace("${item.head}", head)).is_file() for out in outs)
    said = [line for line in caplog.messages if "passed over" in line]
    page = html.unescape(render.render(config))
    for line, (head, (_, reason)) in zip(said, NOT_APPLICABLE.items(), strict=True):
        assert line.startswith(f"{store}/{head}: passed over: ")
        assert reason in line
        assert "\n" not in line
        assert line.replace("passed over: ", "") in leaderboard.passed_over(config, [store])
        assert line.replace("passed over: ", "") in page
        with pytest.raises(IceboxError, match=r"^[^\n]*there is no head in it[^\n]*$"):
            predict.open_head(f"{store}/{head}")
    assert [each["head"] for each in formats.records(config)] == ["logreg"]
    assert leaderboard.unfitted(config) == []


def outputs_of_fit() -> list[str]:
    """The outputs of the stage, as dvc.yaml has them."""
    stage = yaml.safe_load(DVC_YAML.read_text())["stages"]["fit"]
    each = [out for kind in ("outs", "metrics", "plots") for out in stage[kind]]
    return [next(iter(out)) if isinstance(out, dict) else out for out in each]


def test_heads_that_see_anything_but_the_embedding_are_told_to_select_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = PARAMS.replace("as_is: {}", "clip: {family: transformers_vision, weights: clip}").replace(
        "backbone: as_is", "backbone: clip"
    )
    paths.PARAMS.write_text(params)
    config = loader.load()
    for outputs in (["last:avg"], ["embedding", "last:avg"]):
        with pytest.raises(
            IceboxError, match=r"^[^\n]* see [^\n]*last:avg; store and select `outputs: \[embedding\]`[^\n]*$"
        ):
            backbones.text_tower(config, "vectors-as_is", outputs)
    with pytest.raises(IceboxError, match=r"^data/backbones/clip: no backbone here[^\n]*$"):
        backbones.text_tower(config, "vectors-as_is", ["embedding"])


def test_a_list_of_templates_is_one_setting_and_a_list_of_lists_a_grid(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for written, read in (("['a {}', 'the {}']", [["a {}", "the {}"]]), ("[['a {}'], ['{}']]", [["a {}"], ["{}"]])):
        paths.PARAMS.write_text(PARAMS.replace("{vectors: classes.npz}", f"{{templates: {written}, names: {{0: no}}}}"))
        assert loader.load().heads["zero_shot"].parameters == {"templates": read, "names": {0: "no"}}
    paths.PARAMS.write_text(PARAMS.replace("{vectors: classes.npz}", "{templates: [a, 3]}"))
    with pytest.raises(IceboxError, match=r"heads\.zero_shot\.templates: expected list"):
        loader.load()
    paths.PARAMS.write_text(PARAMS.replace("{vectors: classes.npz}", "{class_texts: 3}"))
    with pytest.raises(IceboxError, match=r"class_texts: no such parameter"):
        loader.load()
