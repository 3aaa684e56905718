import copy
import functools
import json
import os
import shutil
from datetime import date
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from icebox.features.errors import IceboxError
from icebox.pipeline.config import json_schema, loader
from icebox.pipeline.project import init

PROJECT = Path(__file__).parents[3]
HEAD = '''"""A head of one's own."""

from typing import Annotated

from annotated_types import Ge


def build(*, votes: Annotated[int, Ge(1)] = 3, shape: "np.ndarray" = None, strange: Estimator | None = None, must: str):
    """`votes`: how many vote."""
'''


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(json_schema.as_text(PROJECT))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def params(text: str) -> object:
    """YAML as an editor sees it: JSON, where every key is text."""
    return json.loads(json.dumps(YAML(typ="safe", pure=True).load(text), default=date.isoformat))


@functools.cache
def own() -> dict:
    loaded = params((PROJECT / "params.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def changed(path: str, value: object) -> dict:
    """The project's own params with one value set."""
    section = loaded = copy.deepcopy(own())
    *parents, last = path.split("/")
    for part in parents:
        if isinstance(section.get(part), list):
            section[part] = dict.fromkeys(section[part])
        section[part] = section = section.get(part) or {}
    section[last] = value
    return loaded


def errors(validator: Draft202012Validator, loaded: object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(loaded)]


@pytest.mark.parametrize("path", [PROJECT / "params.yaml", *sorted((PROJECT / "recipes").glob("*.yaml"))], ids=str)
def test_params_that_come_with_icebox_are_valid(validator, path):
    assert errors(validator, params(path.read_text())) == []


@pytest.mark.parametrize("backbone", ["resnet18", "facebook/dinov2-small"])
def test_params_for_images_that_init_writes_are_valid(validator, tmp_path, backbone):
    text = init.images_params("flowers", tmp_path, backbone=backbone, weights=None)
    assert errors(validator, params(text)) == []


def test_params_for_texts_that_init_writes_are_valid(validator, tmp_path):
    table = tmp_path / "notes.csv"
    table.touch()
    text = init.texts_params("notes", table, table={"text": "text", "label": "label"}, backbone="minilm", weights="w")
    assert errors(validator, params(text)) == []


ACCEPTED = [
    ("datasets/digits", None),
    ("datasets/more", {"source": "digits", "split": None, "task": "regression"}),
    ("datasets/digits", {"split": {"column": None, "val": 0}}),
    ("datasets/table", {"source": "csv_text", "path": "x.csv", "split": "part"}),
    ("datasets/table", {"source": "csv_text", "path": {"train": "x.csv"}, "split": {"column": 3, "val": 0.1}}),
    ("datasets/csv_text", {"source": "digits"}),
    ("backbones/pixels", None),
    ("backbones/gan", {"family": "pixels"}),  # the name of a family that is trained here, and a plugin that is not
    ("backbones/net", {"family": "torchvision", "model": "resnet18", "weights": "w.pth", "sha256": None}),
    ("pretrain/vae", {"data": "digits", "learning_rate": 1}),
    ("heads/logreg", None),
    ("heads/logreg", {"C": [1, 0.5]}),
    ("heads/knn", {"family": "logreg", "C": 1.0}),
    ("heads/probe", {"family": "linear_probe", "outputs": [["a"], None]}),
    ("heads/probe", {"family": "linear_probe", "outputs": ["a"]}),
    ("heads/lda", {"shrinkage": ["auto", 0.1, None], "pca": 0.9}),
    ("heads", own()["heads"]),
    ("unfreeze", None),
    ("unfreeze/glyphnet-tuned/free", {"0": "head", "3": ["a*", "b"]}),
    ("stores/digits-pixels/input", {"labels_per_class": [1, "all"], "class_weights": {"1": 2}, "choose": None}),
    ("stores/digits-pixels/views", ["identity", "five-crop", "random-resized-crop-3"]),
    ("inputs", {"digits-pixels/few": {"labels_per_class": 5}}),
    ("ensembles", {"digits-pixels": None}),
    ("run", None),
    ("run/device", "cuda:1"),
    ("fit", None),
    ("fit/search", {"halving": 9}),
    ("fit/choose", "balanced_accuracy"),
]


@pytest.mark.parametrize(("path", "value"), ACCEPTED)
def test_what_the_loader_accepts_is_valid(validator, monkeypatch, path, value):
    loaded = changed(path, value)
    assert errors(validator, loaded) == []
    if path.startswith("unfreeze/"):  # its keys are numbers in YAML
        value = {int(key): pattern for key, pattern in value.items()}
        loaded = changed(path, value)
    monkeypatch.setattr(loader, "read_yaml", lambda path: loaded)
    loader.load()


REFUSED = [  # the typos of test_loader.py that one key or one value shows, and more of them
    ("pretrain/vae", {}),
    ("pretrain/glyphnet", {"data": "digits"}),
    ("generate/glyphnet", {"data": "digits"}),
    ("heads/svm", {}),
    ("heads/svm", None),
    ("heads/logreg", {"c": 1.0}),
    ("heads/logreg", {"C": "big"}),
    ("heads/logreg", {"C": [1.0, "big"]}),
    ("heads/logreg", {"C": []}),
    ("heads/logreg", {"C": True}),
    ("heads/knn", {"n_neighbors": 1.5}),
    ("heads/knn", {"metric": "cosin"}),
    ("heads/knn", {"family": "logreg", "n_neighbors": 5}),
    ("heads/logreg", 3),
    ("heads/x", {"family": "logrge"}),
    ("heads/a b", {"family": "knn"}),
    ("heads/probe", {"family": "linear_probe", "outputs": ["a", 3]}),
    ("heads/probe", {"family": "linear_probe", "columns": {"a": [[0, 1]]}}),
    ("heads", []),
    ("heads", "logreg"),
    ("heads", ["svm"]),
    ("heads", ["logreg", "logreg"]),
    ("stores", []),
    ("select", None),
    ("ensembles", {"digits-pixels": {"members": 1}}),
    ("run/device", "gpu"),
    ("selekt", {}),
    ("datasets/digits", {"split": {"val": 2.0}}),
    ("datasets/digits", {"split": {"vall": 0.2}}),
    ("datasets/digits", {"split": "part"}),
    ("datasets/digits", {"split": {"column": "part"}}),
    ("datasets/digits", {"task": "regresion"}),
    ("datasets/digts", {}),
    ("datasets/flowers", {"source": "image_folder"}),
    ("datasets/image_folder", None),
    ("backbones/pixels", {"size": "8"}),
    ("backbones/pixels", {"size": 0}),
    ("backbones/vit", {"family": "torchvison"}),
    ("backbones/gan", {}),
    ("pretrain/glyphnet", {"stepz": 3}),
    ("stores/digits-pixels/output", []),
    ("stores/digits-pixels/extract", {"views": ["identity"]}),
    ("stores/digits-pixels/input", {"labels_per_class": 0}),
    ("stores/digits-pixels/views", ["hflop"]),
    ("stores/digits-pixels/views", []),
    ("stores/digits-pixels", {"dataset": "digits"}),
    ("inputs", {"digits-pixels": {"labels_per_class": 5}}),
    ("inputs", {"digits-pixels/few": {"precision": "float32"}}),
    ("unfreeze/glyphnet-tuned/free", {"first": "head"}),
    ("unfreeze/glyphnet-tuned/epochs", 0),
    ("datasets/digits", {"on_error": "ignore"}),
    ("fit/search", {"random": 0}),
    ("fit/search", {"random": 3, "halving": 3}),
    ("fit/choose", "acuracy"),
    ("fit/seed", "zero"),
    ("stores/digits-pixels/input", {"labels_per_class": [1, "some"]}),
    ("stores/digits-pixels/input", {"class_weights": {"1": -1.0}}),
]


@pytest.mark.parametrize(("path", "value"), REFUSED)
def test_what_the_loader_refuses_by_key_type_or_bound_is_not_valid(validator, monkeypatch, path, value):
    loaded = changed(path, value)
    assert errors(validator, loaded)
    monkeypatch.setattr(loader, "read_yaml", lambda path: loaded)
    with pytest.raises(IceboxError):
        loader.load()


def test_a_key_has_its_description_default_and_bounds():
    schema = json.loads(json_schema.as_text(PROJECT))["$defs"]
    folds = schema["Fit"]["properties"]["folds"]
    assert folds["anyOf"][0] == {"minimum": 2, "type": "integer"}
    assert "inside train" in folds["description"]
    size = schema["backbones.pixels"]["properties"]["size"]
    assert (size["minimum"], size["default"]) == (1, 8)
    strength = schema["heads.logreg"]["properties"]["C"]
    assert strength["description"] == "`C`: inverse strength of the L2 penalty."
    assert strength["default"] == 1.0
    assert schema["datasets.mnist"]["properties"]["path"]["default"] == "data/raw/mnist"
    assert "float32" in schema["Unfreeze"]["properties"]["precision"]["default"]
    assert schema["Unfreeze"]["properties"]["clip"]["description"] == "the gradient's largest length"


def test_a_head_of_ones_own_is_part_of_its_projects_schema(tmp_path):
    (tmp_path / "plugins/heads").mkdir(parents=True)
    (tmp_path / "plugins/heads/jury.py").write_text(HEAD)
    assert json_schema.write(tmp_path)
    assert not json_schema.write(tmp_path)
    own_validator = Draft202012Validator(json.loads((tmp_path / "params.schema.json").read_text()))
    assert errors(own_validator, changed("heads/jury", {"must": "x", "votes": [1, 3]})) == []
    assert errors(own_validator, changed("heads/j", {"family": "jury", "must": "x"})) == []
    for wrong in ({}, {"must": "x", "votes": 0}, {"must": "x", "strange": None}):
        assert errors(own_validator, changed("heads/jury", wrong))
    shutil.rmtree(tmp_path / "plugins")
    assert json_schema.write(tmp_path)


def test_a_head_that_is_no_python_is_one_line(tmp_path):
    (tmp_path / "plugins/heads").mkdir(parents=True)
    (tmp_path / "plugins/heads/jury.py").write_text("def build(:\n")
    with pytest.raises(IceboxError, match=r"jury\.py, line 1: invalid syntax"):
        json_schema.as_text(tmp_path)


def set_time(path: Path, seconds: int) -> None:
    os.utime(path, (seconds, seconds))


@pytest.fixture
def written(tmp_path, monkeypatch) -> Path:
    """The schema of a project whose plugins are older than it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "plugins/heads"
    folder.mkdir(parents=True)
    json_schema.write(tmp_path)
    set_time(folder, 1_000)
    set_time(tmp_path / "params.schema.json", 2_000)
    return tmp_path / "params.schema.json"


def test_a_plugin_of_ones_own_that_comes_changes_or_goes_renews_the_schema(written):
    plugin = written.parent / "plugins/heads/voting.py"
    plugin.write_text(HEAD)
    json_schema.renew()
    assert "how many vote" in written.read_text()
    set_time(plugin.parent, 1_000)
    set_time(written, 2_000)
    plugin.write_text(HEAD.replace("how many vote", "how many are asked"))
    json_schema.renew()
    assert "how many are asked" in written.read_text()
    set_time(written, 2_000)
    plugin.unlink()
    json_schema.renew()
    assert "how many are asked" not in written.read_text()


def test_the_schema_is_not_made_anew_while_nothing_changes(written, monkeypatch):
    monkeypatch.setattr(json_schema, "as_text", lambda folder: pytest.fail("made anew"))
    json_schema.renew()


@pytest.mark.parametrize("text", ["{}", "", None], ids=["another's", "empty", "none"])
def test_a_file_that_is_not_ours_stays(written, text):
    written.unlink()
    if text is not None:
        written.write_text(text)
        set_time(written, 500)
    json_schema.renew()
    assert (written.read_text() if written.exists() else None) == text


def test_a_plugin_that_is_no_python_costs_a_warning(written, caplog):
    before = written.read_text()
    (written.parent / "plugins/heads/broken.py").write_text("def build(:")
    json_schema.renew()
    assert written.read_text() == before
    [line] = caplog.messages
    assert "params.schema.json is left as it was: " in line
    assert "broken.py, line 1" in line


def test_every_key_says_what_it_means():
    silent = [
        f"{name}.{key}"
        for name, definition in json_schema.schema()["$defs"].items()
        for key, described in definition.get("properties", {}).items()
        if key not in ("family", "source") and not described.get("description")
    ]
    assert silent == []
