"""`import icebox`, and a project's heads in Python."""

import ast
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.metrics import accuracy_score

import icebox
from icebox.features.errors import IceboxError
from icebox.pipeline.config import loader
from icebox.pipeline.inference import predict
from icebox.pipeline.project import paths
from icebox.pipeline.stages import extract, fetch, fit, manifest
from tests.conftest import PROJECT, make_raw_data

PARAMS = """
datasets:
  photos: {source: image_folder, path: raw/photos, split: {val: 0.3, test: 0.3}}
  notes: {source: csv_text, path: raw/notes.csv, text: text, label: label, clean: [lower], split: {val: 0.3, test: 0.3}}
backbones: {pixels: {size: 4}, hashing: {dimensions: 64}}
stores:
  photos-pixels: {dataset: photos, backbone: pixels}
  notes-hashing: {dataset: notes, backbone: hashing}
heads: {logreg: {C: 1.0}, linear_svm: {C: 1.0}}
"""
REGRESSION = """
datasets:
  sizes: {source: csv_text, path: sizes.csv, text: text, label: size, task: regression, split: {val: 0.3, test: 0.3}}
backbones: {hashing: {dimensions: 64}}
stores: {sizes-hashing: {dataset: sizes, backbone: hashing}}
heads: {ridge: {alpha: 0.1}}
"""
FITS = {"photos-pixels": ["logreg", "linear_svm"], "notes-hashing": ["logreg"], "sizes-hashing": ["ridge"]}


@pytest.mark.slow
def test_the_import_loads_nothing_and_each_name_only_its_own():
    code = (
        "import sys, icebox; assert not {'numpy', 'torch', 'sklearn'} & set(sys.modules); "
        "icebox.FeatureStore; assert 'torch' not in sys.modules; assert 'sklearn' not in sys.modules; "
        "icebox.Encoder; icebox.load; icebox.extract; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


def test_every_public_name_is_there():
    assert set(icebox.__all__) <= set(dir(icebox))
    for name in icebox.__all__:
        assert getattr(icebox, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'encoder'"):
        icebox.encoder  # noqa: B018


def test_type_checkers_see_the_names_that_are_imported_lazily():
    tree = ast.parse(Path(icebox.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    assert {node.names[0].name: node.module for node in imports} == icebox.MODULES


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("library")
    make_raw_data(folder / "raw")
    lines = [f"{'good ' * (i % 4)}thing number {i},{i % 4}" for i in range(60)]
    (folder / "sizes.csv").write_text("\n".join(["text,size", *lines]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for params in (REGRESSION, PARAMS):
            paths.PARAMS.write_text(params)
            config = loader.load()
            for backbone in config.backbones:
                fetch.run(config, backbone)
            for store, entry in config.stores.items():
                manifest.run(config, entry.dataset)
                extract.run(config, store)
                for head in FITS[store]:
                    fit.run(config, f"{store}/{head}")
    return folder


def test_the_example_of_the_readme_runs(project, monkeypatch):
    """With a backbone that needs no download, and this small project's store."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("ICEBOX_CACHE", str(project / "cache"))
    example = re.search(r"```python\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)[1]
    example = example.replace("resnet18", "pixels").replace("digits-glyphnet", "photos-pixels")
    files = photos(project)
    names = {"items": files, "labels": [path.parent.name for path in files], "new_items": files[:3]}
    exec(example, names)
    assert names["model"].predict(files).tolist() == names["labels"]
    assert names["X"].shape[1] == 16


def photos(project: Path) -> list[Path]:
    return sorted((project / "raw/photos").glob("*/*.png"))


def test_a_classifier_predicts_names_and_probabilities_of_raw_items(project):
    head = icebox.load("photos-pixels/logreg", project=project)
    files = photos(project)
    assert list(head.classes_) == ["bright", "dark"]
    predicted, probabilities = head.predict(files), head.predict_proba(files)
    assert predicted.tolist() == [path.parent.name for path in files]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert head.classes_[probabilities.argmax(axis=1)].tolist() == predicted.tolist()
    assert head.score(files, predicted) == accuracy_score(predicted, predicted)
    assert is_classifier(head)


def test_it_predicts_as_the_command_does(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    texts = ["A GOOD thing", "bad", "thing number"]
    Path("new.txt").write_text("\n".join(texts))
    predict.to_table(predict.open_head("notes-hashing/logreg"), ["new.txt"])
    lines = [line.split(",") for line in capsys.readouterr().out.splitlines()[1:]]
    head = icebox.load("notes-hashing/logreg")
    assert head.predict(np.array(texts)[:, None]).tolist() == [line[2] for line in lines]
    expected = [[float(value) for value in line[3:]] for line in lines]
    np.testing.assert_allclose(head.predict_proba(texts), expected, atol=1e-6)


def test_a_head_without_probabilities_has_no_predict_proba(project):
    head = icebox.load("photos-pixels/linear_svm", project=project)
    assert not hasattr(head, "predict_proba")
    assert head.predict(photos(project)[:1]).tolist() == ["bright"]


def test_a_regressor_predicts_numbers(project):
    head = icebox.load("sizes-hashing/ridge", project=project)
    none, three = head.predict(["thing", "good good good thing"])
    assert three > none + 1
    assert is_regressor(head)
    assert not hasattr(head, "classes_")
    assert not hasattr(head, "predict_proba")


def test_it_stays_as_it_is_when_it_is_fitted_cloned_or_pickled(project):
    head = icebox.load("photos-pixels/logreg", project=project)
    files = photos(project)[::7]
    expected = head.predict_proba(files)
    pickled = pickle.dumps(head)
    assert len(pickled) < 1000
    for other in (head.fit(files, [0] * len(files)), clone(head), pickle.loads(pickled)):  # noqa: S301
        np.testing.assert_array_equal(other.predict_proba(files), expected)


def test_the_working_folder_is_the_same_afterwards(project):
    before = Path.cwd()
    icebox.load("photos-pixels/logreg", project=project)
    with pytest.raises(IceboxError, match="knn: expected STORE/HEAD, found no head of that name"):
        icebox.load("photos-pixels/knn", project=project)
    assert Path.cwd() == before


def test_an_item_that_cannot_be_read_is_named_by_its_position(project):
    head = icebox.load("photos-pixels/logreg", project=project)
    with pytest.raises(IceboxError, match=r"item '1 \(none\.png\)': can't be read"):
        head.predict([photos(project)[0], "none.png"])
    with pytest.raises(IceboxError, match=r"item '1': not an image"):
        head.predict([photos(project)[0], b"no image"])


def test_a_bundle_that_its_card_does_not_record_stays_closed_unless_it_is_trusted(project, tmp_path):
    card = project / paths.card("sizes-hashing", "ridge")
    text = card.read_text()
    card.unlink()
    try:
        with pytest.raises(IceboxError, match="expected its card"):
            icebox.load("sizes-hashing/ridge", project=project)
        assert icebox.load("sizes-hashing/ridge", project=project, trust=True).predict(["thing"]).shape == (1,)
    finally:
        card.write_text(text)
