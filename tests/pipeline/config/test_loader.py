import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from icebox.features.errors import IceboxError
from icebox.pipeline.config import loader
from icebox.pipeline.evaluation import metrics

PROJECT = Path(__file__).parents[3]


def changed(tmp_path: Path, *path: str, value: object) -> Path:
    """The project's own params.yaml with one value set."""
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((PROJECT / "params.yaml").read_text())
    *parents, last = path
    section = params
    for part in parents:
        if isinstance(section.get(part), list):
            section[part] = dict.fromkeys(section[part])
        section[part] = section = section.get(part) or {}
    section[last] = value
    target = tmp_path / "params.yaml"
    with target.open("w") as stream:
        yaml.dump(params, stream)
    return target


@pytest.mark.parametrize(
    ("heads", "fit", "message"),
    [
        (["linear_svm"], {}, "expected two heads or more with probabilities, found none of linear_svm; add heads"),
        (["linear_svm", "rbf_svm", "ridge"], {}, "with probabilities, found none of linear_svm, rbf_svm, ridge; add"),
        (["logreg", "linear_svm"], {}, "with probabilities, found logreg of logreg, linear_svm; add"),
        (["logreg"], {"calibrate": "temperature"}, "expected two heads or more, found logreg"),
        (["logreg", "knn"], {"folds": 3}, "chooses its members by their scores on val, and folds: 3 leaves none"),
    ],
)
def test_an_ensemble_that_cannot_be_is_refused_before_anything_is_fitted(
    tmp_path: Path, heads: list[str], fit: dict[str, object], message: str
):
    path = changed(tmp_path, "heads", value=heads)
    params = YAML(typ="safe", pure=True).load(path.read_text()) | {"fit": fit, "ensembles": {"digits-pixels": {}}}
    params.pop("unfreeze")
    with path.open("w") as stream:
        YAML(typ="safe", pure=True).dump(params, stream)
    with pytest.raises(IceboxError, match=f"^ensembles.digits-pixels: .*{message}"):
        loader.load(path)


def test_calibrated_heads_without_probabilities_are_an_ensemble(tmp_path: Path):
    path = changed(tmp_path, "fit", value={"calibrate": "temperature"})
    params = YAML(typ="safe", pure=True).load(path.read_text())
    params |= {"heads": ["linear_svm", "ridge"], "ensembles": {"digits-pixels": None}}
    params.pop("unfreeze")
    with path.open("w") as stream:
        YAML(typ="safe", pure=True).dump(params, stream)
    assert list(loader.load(path).ensembles) == ["digits-pixels"]


def test_the_projects_own_params_are_valid():
    loaded = loader.load(PROJECT / "params.yaml")
    assert list(loaded.heads) == ["logreg", "linear_svm", "knn", "lightgbm", "mlp"]
    assert loaded.backbone("glyphnet").family == "glyphnet"
    assert loaded.backbone("minilm").family == "transformers"


OF_CLASSES = ", ".join(metrics.choices("classification"))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["pretrain", "vae"], {}, "pretrain.vae.data: missing; expected the dataset that it is trained on, or none"),
        (["pretrain", "glyphnet"], {"data": "digits"}, "pretrain.glyphnet.data: expected none, since glyphnet draws its own; found digits"),
        (["pretrain", "vae"], {"data": "digts"}, "pretrain.vae.data: no dataset named 'digts'; did you mean 'digits'?"),
        (["datasets", "none"], {"source": "digits"}, "datasets.none: this name stands for nothing"),
        (["generate", "glyphnet"], {"data": "digits"}, "generate.glyphnet.judge: missing"),
        (["generate", "glyfnet"], {"data": "digits", "judge": "glyphnet"}, "generate.glyfnet: no backbone that is trained here named 'glyfnet'; did you mean 'glyphnet'?"),
        (["heads", "svm"], {}, "heads.svm: no head named 'svm'; did you mean 'rbf_svm'?"),
        (["heads", "logreg"], {"c": 1.0}, "heads.logreg.c: no such parameter; did you mean 'C'?"),
        (["heads", "logreg"], {"C": "big"}, "heads.logreg.C: expected float, found 'big'"),
        (["heads", "logreg"], {"C": [1.0, "big"]}, "heads.logreg.C: expected float, found 'big'"),
        (["heads", "logreg"], {"C": []}, "heads.logreg.C: expected at least one value, found an empty list"),
        (["heads", "knn"], {"n_neighbors": 1.5}, "heads.knn.n_neighbors: expected int, found 1.5"),
        (["heads", "knn"], {"metric": "cosin"}, "heads.knn.metric: expected 'cosine' or 'euclidean', found 'cosin'"),
        (["heads", "logreg"], 3, "heads.logreg: expected parameters, found 3"),
        (["heads", "x"], {"family": "logrge"}, "heads.x: no head named 'logrge'; did you mean 'logreg'?"),
        (["heads", "a b"], {"family": "knn"}, "heads.a b: a name is made of letters, digits, '_' and single '-'"),
        (["heads"], ["logreg", "svm"], "heads.svm: no head named 'svm'; did you mean 'rbf_svm'?"),
        (["heads"], ["logreg", 3], "heads: expected names, found 3"),
        (["heads"], ["logreg", "knn", "logreg"], "heads: 'logreg' stands there twice"),
        (["heads"], "logreg", "heads: expected `name: {…}` entries, found 'logreg'"),
        (["heads"], [], "heads: expected a head or more, found none"),
        (["stores"], ["digits-glyphnet"], "stores: expected `name: {…}` entries, found ['digits-glyphnet']"),
        (["select"], {"heads": ["logreg"]}, "select: there is no such section any more; what stands in params.yaml runs"),
        (["extract"], {"workers": 2}, "extract: there is no such section any more; batch_size and workers stand under `run`"),
        (["selekt"], {}, "selekt: no such section; did you mean 'ensembles'?"),
        (["inputs", "digits-pixels"], {}, "inputs.digits-pixels: expected STORE/NAME; what heads see by default stands in stores.digits-pixels.input"),
        (["inputs", "digits-pixel/few"], {}, "inputs.digits-pixel/few: no store named 'digits-pixel'; did you mean 'digits-pixels'?"),
        (["inputs", "digits-pixels/knn"], {}, "inputs.digits-pixels/knn: 'knn' is the name of a head too; give the input another"),
        (["inputs", "digits-pixels/a/b"], {}, "inputs.digits-pixels/a/b: a name is made of letters"),
        (["inputs", "digits-pixels/few"], {"views": ["hflip"]}, "inputs.digits-pixels/few.views: no view named 'hflip'; there are: identity"),
        (["ensembles", "digits-pixel"], {}, "ensembles: no input of a store named 'digits-pixel'; did you mean 'digits-pixels'?"),
        (["ensembles", "digits-pixels"], {"members": 1}, "ensembles.digits-pixels.members: Input should be greater than or equal to 2"),
        (["unfreeze", "glyphnet-tuned", "start"], "few/mlp", "unfreeze.glyphnet-tuned.start: no input of a store named 'digits-glyphnet/few'"),
        (["run", "device"], "gpu", "run.device: String should match pattern"),
        (["datasets", "digits"], {"split": {"val": 2.0}}, "datasets.digits.split.val: Input should be less than 1, found 2.0"),
        (["datasets", "digits"], {"split": {"val": 0.6, "test": 0.4}}, "datasets.digits.split: expected val + test below 1, so that train gets items, found 0.6 + 0.4"),
        (["datasets", "digits"], {"task": "regresion"}, "datasets.digits.task: no task named 'regresion'; did you mean 'regression'?"),
        (["datasets", "digits"], {"task": "regression", "split": {"stratify": True}}, "datasets.digits.split.stratify: needs a class of each item"),
        (["datasets", "digts"], {}, "datasets.digts: no dataset named 'digts'; did you mean 'digits'?"),
        (["datasets", "flowers"], {"source": "image_folder"}, "datasets.flowers.path: missing, and it has no default"),
        (["backbones", "pixels"], {"size": "8"}, "backbones.pixels.size: expected int, found '8'"),
        (["backbones", "vit"], {"family": "torchvison"}, "backbones.vit: no backbone named 'torchvison'; did you mean 'torchvision'?"),
        (["backbones", "glyphnet"], {"family": "pixels"}, "pretrain.glyphnet: this name stands under backbones: too; give one of them another"),
        (["pretrain", "glyphnet"], {"data": "none", "stepz": 3}, "pretrain.glyphnet.stepz: no such parameter; did you mean 'steps'?"),
        (["stores", "digits-pixels", "backbone"], "pixel", "stores.digits-pixels.backbone: no backbone named 'pixel'; did you mean 'pixels'?"),
        (["stores", "digits-pixels", "output"], [], "stores.digits-pixels.output: no such key; did you mean 'outputs'?"),
        (["stores", "digits-pixels", "input"], {"labels_per_class": 0}, "stores.digits-pixels.input.labels_per_class: Input should be"),
        (["stores", "digits-pixels", "views"], ["random-resized-crop-99999999"], "stores.digits-pixels.views: expected at most 999 random crops, found 'random-resized-crop-99999999'"),
        (["stores", "digits-pixels", "outputs"], ["last:grid-99999"], "stores.digits-pixels.outputs: 'last:grid-99999': expected a grid of at most 99 cells a side"),
        (["backbones", "pixels", "size"], 99999, "backbones.pixels.size: expected int at least 1 and at most 1,024, found 99999"),
        (["stores", "digits-pixels", "views"], ["hflop"], "stores.digits-pixels.views: no view 'hflop'; did you mean 'hflip'?"),
        (["stores", "digits-pixels", "views"], [], "stores.digits-pixels.views: List should have at least 1 item"),
        (["stores", "digits-pixels"], {"dataset": "digits", "backbone": "pixels", "views": ["hflip"], "pairs": "siamese"}, "stores.digits-pixels.views: siamese pairs have"),
        (["stores", "digits-pixels", "pca"], 8, "stores.digits-pixels.pca: is of maps, and the outputs hold none"),
        (["stores", "digits-pixels", "pca"], 0, "stores.digits-pixels.pca: Input should be greater than or equal to 1"),
        (["stores", "digits-pixels", "size"], 96, "stores.digits-pixels.size: backbone family 'pixels' has no such option"),
        (["stores", "docstrings-hashing", "decode"], "draft", "stores.docstrings-hashing.decode: backbone family 'hashing' has no"),
        (["stores", "digits-pixels", "input"], {"views": ["hflip"]}, "stores.digits-pixels.input.views: no view named 'hflip'; there are: identity"),
        (["stores", "digits-pixels"], {"dataset": "digits", "backbone": "pixels", "outputs": ["last"], "input": {"outputs": ["lost"]}}, "stores.digits-pixels.input.outputs: no output named 'lost'; did you mean 'last'?"),
        (["stores", "digits-pixels"], {"dataset": "digits"}, "stores.digits-pixels.backbone: missing"),
        (["datasets", "digits"], {"on_error": "ignore"}, "datasets.digits.on_error: expected fail or skip, found 'ignore'"),
        (["fit", "search"], {"random": 0}, "fit.search: expected grid, {random: n} or {halving: n}, found {'random': 0}"),
        (["fit", "choose"], "rmse", f"stores.digits-glyphnet.input.choose: expected one of {OF_CLASSES}, found 'rmse'"),
        (["stores", "digits-pixels", "input"], {"calibrate": "isotonic", "refit": "train+val"}, "stores.digits-pixels.input: calibrate: isotonic learns from val, which refit: train+val has used up"),
        (["fit", "decide"], "largest", "fit.decide: expected argmax, accuracy, balanced_accuracy, f1_macro, {recall: {CLASS: 0.95}} or {costs: {CLASS: {PREDICTED: 5}}}, found 'largest'"),
        (["fit", "decide"], {"recall": {1: 1.5}}, "fit.decide: expected argmax, accuracy, "),
        (["fit", "decide"], {"costs": {"a": {"a": 1}}}, "fit.decide: expected argmax, accuracy, "),
        (["stores", "digits-pixels", "input"], {"decide": "f1_macro", "refit": "train+val"}, "stores.digits-pixels.input: decide: f1_macro is chosen on val, which refit: train+val has used up"),
        (["fit", "decide"], {"recall": {"a": 0.9}}, "unfreeze.glyphnet-tuned: a network decides by its largest score, and heads of 'digits-glyphnet' for {'recall': {'a': 0.9}}; begin from an input"),
        (["stores", "digits-pixels", "input"], {"shares": "em"}, "stores.digits-pixels.input: shares: em is of sets that are aligned; set adapt: standardize, or leave it out"),
        (["stores", "digits-pixels", "input"], {"shares": "em", "adapt": "coral"}, "stores.digits-pixels.input: shares: em goes with adapt: standardize only"),
        (["stores", "digits-pixels", "input"], {"shares": "bbse", "adapt": "standardize", "refit": "train+val"}, "stores.digits-pixels.input: shares: bbse counts confusions on val, which"),
        (["stores", "digits-pixels", "input"], {"shares": "em", "adapt": "standardize", "labels_per_class": 5}, "stores.digits-pixels.input: shares: em takes the labels of all of train"),
        (["fit", "adapt"], "coral", "unfreeze.glyphnet-tuned: a network sees items as they are, and heads of 'digits-glyphnet' features that were aligned (adapt: coral); begin from"),
        (["stores", "digits-pixels", "input"], {"labels_per_class": [1, 0]}, "stores.digits-pixels.input.labels_per_class: Input should be greater than or equal to 1, found 0"),
        (["stores", "digits-pixels", "input"], {"class_weights": {"1": 1.0, "a": -1.0}}, "stores.digits-pixels.input.class_weights.a: Input should be greater than 0, found -1.0"),
        (["fit", "seed"], "zero", "fit.seed: Input should be a valid integer, found 'zero'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_its_place(tmp_path, path, value, message):
    with pytest.raises(IceboxError) as caught:
        loader.load(changed(tmp_path, *path, value=value))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_store_may_say_for_itself_how_its_heads_are_fitted(tmp_path):
    own = {"choose": "f1_macro", "folds": 3, "refit": "train+val"}
    loaded = loader.load(changed(tmp_path, "stores", "digits-pixels", "input", value=own))
    fit = loaded.fit_options("digits-pixels")
    assert (fit.choose, fit.folds, fit.refit, fit.seed) == ("f1_macro", 3, "train+val", loaded.fit.seed)
    assert loaded.fit_options("digits-glyphnet") == loaded.fit


def test_a_regression_is_chosen_by_its_error_unless_it_says_otherwise(tmp_path):
    path = changed(tmp_path, "datasets", "digits", "task", value="regression")
    path.write_text(
        path.read_text()
        .replace("heads: [logreg, linear_svm, knn, lightgbm, mlp]", "heads: [knn]")
        .replace("start: mlp", "start: knn")
    )
    assert loader.load(path).fit_options("digits-pixels").choose == "rmse"
    assert loader.load(path).fit_options("docstrings-minilm").choose == "accuracy"


def test_an_unfreezing_begins_from_a_head_that_runs(tmp_path):
    path = changed(tmp_path, "heads", value=["logreg"])
    with pytest.raises(IceboxError, match=r"unfreeze.glyphnet-tuned.start: no head named 'mlp'; there are: logreg"):
        loader.load(path)


def test_a_head_without_settings_searches_the_grid_of_its_file(tmp_path):
    from_list = loader.load(changed(tmp_path, "heads", value=["logreg", "mlp"])).heads
    by_name = loader.load(changed(tmp_path, "heads", value={"logreg": {}, "mlp": None})).heads
    assert from_list == by_name
    assert from_list["logreg"].parameters == {"C": [0.001, 0.01, 0.1, 1.0], "scale": ["each", "overall"]}
    own = loader.load(changed(tmp_path, "heads", value={"mlp": None, "logreg": {"scale": "l2"}})).heads
    assert own["logreg"].parameters == {"scale": "l2"}


def test_an_input_has_the_fit_of_all_but_for_what_it_says_itself(tmp_path):
    path = changed(tmp_path, "inputs", "digits-pixels/few", value={"labels_per_class": 5, "choose": "f1_macro"})
    loaded = loader.load(path)
    assert list(loaded.every_input())[:3] == ["digits-glyphnet", "digits-pixels", "digits-pixels/few"]
    few = loaded.fit_options("digits-pixels/few")
    assert (few.labels_per_class, few.choose, few.refit) == (5, "f1_macro", loaded.fit.refit)
    assert loaded.fit_options("digits-pixels") == loaded.fit
    assert loaded.task("digits-pixels/few") == "classification"


def test_ten_lines_are_enough(tmp_path):
    (tmp_path / "params.yaml").write_text(
        """\
datasets:
  digits:
backbones:
  pixels:
stores:
  digits-pixels: {dataset: digits, backbone: pixels}
heads: [logreg, knn]
"""
    )
    loaded = loader.load(tmp_path / "params.yaml")
    assert (list(loaded.every_input()), list(loaded.heads)) == (["digits-pixels"], ["logreg", "knn"])


def test_an_unfreezing_begins_from_no_head_that_has_seen_val(tmp_path):
    path = changed(tmp_path, "stores", "digits-glyphnet", "input", value={"refit": "train+val"})
    with pytest.raises(IceboxError, match=r"glyphnet-tuned: chooses its best epoch on val, which the 'mlp' of"):
        loader.load(path)


def test_a_store_of_an_unfrozen_network_has_that_networks_family(tmp_path):
    path = changed(tmp_path, "stores", "digits-pixels", "backbone", value="glyphnet-tuned")
    assert loader.load(path).backbone("glyphnet-tuned").family == "glyphnet"
    path = changed(tmp_path, "stores", "digits-glyphnet", "backbone", value="glyphnet-tuned")
    with pytest.raises(IceboxError, match="is made of this very network"):
        loader.load(path)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(IceboxError, match="not found; run this in the project's root"):
        loader.load(tmp_path / "params.yaml")


def test_broken_yaml_is_one_line_with_its_line_number(tmp_path):
    (tmp_path / "params.yaml").write_text("heads: {a: [a}\n")
    with pytest.raises(IceboxError, match="line 1") as caught:
        loader.load(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_numbers_are_read_as_dvc_reads_them(tmp_path):
    target = changed(tmp_path, "heads", "mlp", value={})
    target.write_text(target.read_text().replace("mlp: {}", "mlp: {learning_rate: 1e-3}"))
    assert loader.load(target).heads["mlp"].parameters == {"learning_rate": 0.001}


def test_checking_loads_no_heavy_library():
    code = (
        "import sys; from icebox.pipeline.config import loader as config; config.load(); "
        "print(sorted({'torch', 'sklearn', 'lightgbm', 'scipy.stats'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=PROJECT) == b"[]\n"


TWO_TASKS = """
datasets:
  digits: {}
  grades: {source: csv_text, path: grades.csv, label: grade, task: regression}
backbones: {pixels: {}, hashing: {}}
stores:
  digits-pixels: {dataset: digits, backbone: pixels}
  grades-hashing: {dataset: grades, backbone: hashing}
heads: HEADS
"""


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ("[logreg, ridge]", ""),
        ("[logreg]", "stores.grades-hashing.input: the task of its dataset is regression, which none of the heads is"),
        ("[logreg, ridge, pixel_conv]", "heads.pixel_conv: is for segmentation only, and the task of digits-pixels's"),
    ],
)
def test_a_head_may_be_for_one_dataset_and_each_dataset_needs_one(tmp_path, heads, message):
    path = tmp_path / "params.yaml"
    path.write_text(TWO_TASKS.replace("HEADS", heads))
    if not message:
        assert loader.load(path).task("grades-hashing") == "regression"
        return
    with pytest.raises(IceboxError) as caught:
        loader.load(path)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
