import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from features.errors import IceboxError
from pipeline import config

PROJECT = Path(__file__).parents[2]


def changed(tmp_path: Path, *path: str, value: object) -> Path:
    """The project's own params.yaml with one value set."""
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((PROJECT / "params.yaml").read_text())
    *parents, last = path
    section = params
    for part in parents:
        section = section[part]
    section[last] = value
    target = tmp_path / "params.yaml"
    with target.open("w") as stream:
        yaml.dump(params, stream)
    return target


def test_the_projects_own_params_are_valid():
    loaded = config.load(PROJECT / "params.yaml")
    assert loaded.select.heads == ["logreg", "linear_svm", "knn", "lightgbm", "mlp"]
    assert loaded.backbone("glyphnet").family == "glyphnet"
    assert loaded.backbone("minilm").family == "transformers"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["heads", "svm"], {}, "heads.svm: no head named 'svm'; did you mean 'linear_svm'?"),
        (["heads", "logreg"], {"c": 1.0}, "heads.logreg.c: no such parameter; did you mean 'C'?"),
        (["heads", "logreg"], {"C": "big"}, "heads.logreg.C: expected float, found 'big'"),
        (["heads", "logreg"], {"C": [1.0, "big"]}, "heads.logreg.C: expected float, found 'big'"),
        (["heads", "logreg"], {"C": []}, "heads.logreg.C: expected at least one value, found an empty list"),
        (["heads", "knn"], {"neighbors": 1.5}, "heads.knn.neighbors: expected int, found 1.5"),
        (["heads", "knn"], {"metric": "cosin"}, "heads.knn.metric: expected Literal['cosine', 'euclidean'], found 'cosin'"),
        (["heads", "logreg"], 3, "heads.logreg: expected parameters, found 3"),
        (["heads", "x"], {"family": "logrge"}, "heads.x: no head named 'logrge'; did you mean 'logreg'?"),
        (["heads", "a b"], {"family": "knn"}, "heads.a b: a name is made of letters, digits, '_', '.' and single '-'"),
        (["select", "heads"], ["logreg", "svm"], "select.heads: no head named 'svm'; did you mean 'linear_svm'?"),
        (["select", "stores"], ["digits-glyfnet"], "select.stores: no store named 'digits-glyfnet'; did you mean 'digits-glyphnet'?"),
        (["select", "heads"], "logreg", "select.heads: Input should be a valid list, found 'logreg'"),
        (["selekt"], {}, "selekt: no such section; did you mean 'select'?"),
        (["datasets", "digits"], {"split": {"val": 2.0}}, "datasets.digits.split.val: Input should be less than 1, found 2.0"),
        (["datasets", "digts"], {}, "datasets.digts: no dataset named 'digts'; did you mean 'digits'?"),
        (["datasets", "flowers"], {"source": "image_folder"}, "datasets.flowers.path: missing, and it has no default"),
        (["backbones", "pixels"], {"size": "8"}, "backbones.pixels.size: expected int, found '8'"),
        (["backbones", "vit"], {"family": "torchvison"}, "backbones.vit: no backbone named 'torchvison'; did you mean 'torchvision'?"),
        (["backbones", "glyphnet"], {"family": "pixels"}, "pretrain.glyphnet: this name stands under backbones: too; give one of them another"),
        (["pretrain", "glyphnet"], {"stepz": 3}, "pretrain.glyphnet.stepz: no such parameter; did you mean 'steps'?"),
        (["stores", "digits-pixels", "backbone"], "pixel", "stores.digits-pixels.backbone: no backbone named 'pixel'; did you mean 'pixels'?"),
        (["stores", "digits-pixels", "extract"], {"output": []}, "stores.digits-pixels.extract.output: no such key; did you mean 'outputs'?"),
        (["stores", "digits-pixels", "fit"], {"labels_per_class": 0}, "stores.digits-pixels.fit.labels_per_class: Input should be"),
        (["stores", "digits-pixels"], {"dataset": "digits", "backbone": "pixels", "extract": {}}, "stores.digits-pixels.fit: missing"),
        (["extract", "on_error"], "ignore", "extract.on_error: Input should be 'fail' or 'skip', found 'ignore'"),
        (["fit", "seed"], "zero", "fit.seed: Input should be a valid integer, found 'zero'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_its_place(tmp_path, path, value, message):
    with pytest.raises(IceboxError) as caught:
        config.load(changed(tmp_path, *path, value=value))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(IceboxError, match="not found; run this in the project's root"):
        config.load(tmp_path / "params.yaml")


def test_broken_yaml_is_one_line_with_its_line_number(tmp_path):
    (tmp_path / "params.yaml").write_text("select: {heads: [a}\n")
    with pytest.raises(IceboxError, match="line 1") as caught:
        config.load(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_numbers_are_read_as_dvc_reads_them(tmp_path):
    target = changed(tmp_path, "heads", "mlp", value={})
    target.write_text(target.read_text().replace("mlp: {}", "mlp: {learning_rate: 1e-3}"))
    assert config.load(target).heads["mlp"].parameters == {"learning_rate": 0.001}


def test_checking_loads_no_heavy_library():
    code = (
        "import sys; from pipeline import config; config.load(); "
        "print(sorted({'torch', 'sklearn', 'lightgbm'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=PROJECT) == b"[]\n"
