import json
import logging
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

from icebox.features.errors import IceboxError
from icebox.pipeline.config import loader
from icebox.pipeline.inference import cached_backbones
from icebox.pipeline.inference.encoder import Encoder
from icebox.pipeline.project import backbone_names, paths
from icebox.pipeline.stages import fetch
from tests.conftest import PROJECT
from tests.features.backbones.test_text_networks import sentence_folder

TEXTS = ["a good thing", "a bad thing", "good", "bad and worse"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ICEBOX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def images(n: int = 8) -> list[np.ndarray]:
    """Bright and dark pictures by turns."""
    random = np.random.default_rng(0)
    return [random.integers(0, 100, (9, 9, 3), np.uint8) + np.uint8(0 if i % 2 else 150) for i in range(n)]


def passed(caplog) -> list[int]:
    """The number of items that went through the network, of each extraction since the last call."""
    counts = [record.args[2] for record in caplog.records if "passed" in record.msg]
    caplog.clear()
    return counts


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "icebox")
    return caplog


# --- scikit-learn's own checks. `check_estimator` runs none on an estimator that takes no numbers in two dimensions;
# these need no X of theirs. Those that pass their own X can't apply, since it is floats (n, d): fit2d_*, n_features_in
# (one item is one image or text, so there are no input features to count), dtypes, sparse, NaN, pickle, idempotence.
# The last two, set_output and fitting are tested below with items of ours.
NEED_NO_DATA = [
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_valid_tag_types,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
    estimator_checks.check_parameters_default_constructible,
]


@pytest.mark.parametrize("check", NEED_NO_DATA, ids=lambda check: check.__name__)
def test_it_passes_the_check_of_scikit_learn(check):
    check("Encoder", Encoder())


def test_scikit_learn_has_no_other_check_for_an_estimator_of_texts():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ran = [check.func.__name__ for _, check in estimator_checks.estimator_checks_generator(Encoder())]
    assert ran == ["check_estimator_cloneable"]
    assert any("Can't test estimator Encoder" in str(each.message) for each in caught)


@pytest.mark.parametrize("method", ["transform", "get_feature_names_out"])
def test_before_fit_it_says_that_it_is_not_fitted(method):
    with pytest.raises(NotFittedError):
        getattr(Encoder("hashing"), method)(TEXTS)


@pytest.mark.parametrize(("name", "items"), [("hashing", TEXTS), ("pixels", images())])
def test_fit_then_transform_is_fit_transform_and_changes_no_parameter(name, items):
    encoder = Encoder(name)
    parameters = encoder.get_params()
    assert encoder.fit(items) is encoder
    features = encoder.transform(items)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, clone(encoder).fit_transform(items, [0] * len(items)))
    np.testing.assert_array_equal(features[2:4], encoder.transform(items[2:4]))
    np.testing.assert_array_equal(features[::-1], encoder.transform(items[::-1]))
    assert encoder.get_params() == parameters


def test_the_device_can_be_named_and_changes_no_fingerprint():
    default = Encoder("squeezenet1_1", weights="random", precision="float32")
    named = clone(default).set_params(device="cpu")
    np.testing.assert_allclose(default.fit_transform(images(2)), named.fit_transform(images(2)), atol=1e-3)
    assert named.fingerprint_ == default.fingerprint_
    with pytest.raises(IceboxError, match=r"there is no device 'cuda:99' here; there are: auto, .*cpu"):
        clone(default).set_params(device="cuda:99").fit(images(2))


@pytest.mark.parametrize("moment", ["before fit", "after fit"])
def test_it_can_be_pickled(moment):
    encoder = Encoder("pixels")
    expected = encoder.fit_transform(images())
    pickled = pickle.dumps(encoder if moment == "after fit" else clone(encoder))
    assert len(pickled) < 1000
    again = pickle.loads(pickled)  # noqa: S301
    features = again.transform(images()) if moment == "after fit" else again.fit_transform(images())
    np.testing.assert_array_equal(features, expected)


def test_set_output_gives_frames_with_the_names_of_the_features():
    pandas = pytest.importorskip("pandas")
    column = pandas.Series(TEXTS, index=[7, 5, 3, 1])
    encoder = Encoder("hashing").set_output(transform="pandas")
    for frame in (encoder.fit_transform(column), encoder.transform(column)):
        assert list(frame.columns) == list(encoder.get_feature_names_out())
        assert list(frame.index) == [7, 5, 3, 1]
    assert list(frame.columns[:2]) == ["encoder0", "encoder1"]
    assert isinstance(encoder.set_output(transform="default").transform(column), np.ndarray)


# --- items


def test_an_image_gives_the_same_features_as_a_path_an_image_an_array_and_bytes(tmp_path):
    array = images()[0]
    path = tmp_path / "one.png"
    Image.fromarray(array).save(path)
    rows = Encoder("pixels").fit_transform([path, str(path), Image.open(path), array, path.read_bytes()])
    assert rows.shape == (5, 64)
    assert (rows == rows[0]).all()


@pytest.mark.parametrize("shape", [(4, 9, 9), (4, 9, 9, 3)])
def test_images_may_be_one_array(shape):
    assert Encoder("pixels").fit_transform(np.zeros(shape, np.uint8)).shape == (4, 64)


def test_rows_stand_in_the_order_of_the_items_and_equal_items_have_equal_rows():
    texts = ["b", "a", "b", "c"]
    rows = Encoder("hashing").fit_transform(texts)
    each = [Encoder("hashing").fit_transform([text])[0] for text in texts]
    np.testing.assert_array_equal(rows, each)


@pytest.mark.parametrize("form", ["list", "array", "object array", "column of an array", "series", "frame"])
def test_texts_may_be_a_list_or_a_column(form):
    if form in ("series", "frame"):
        pandas = pytest.importorskip("pandas")
    column = {
        "list": lambda: TEXTS,
        "array": lambda: np.array(TEXTS),
        "object array": lambda: np.array(TEXTS, object),
        "column of an array": lambda: np.array(TEXTS, object)[:, None],
        "series": lambda: pandas.Series(TEXTS),
        "frame": lambda: pandas.DataFrame({"text": TEXTS}),
    }[form]()
    np.testing.assert_array_equal(Encoder("hashing").fit_transform(column), Encoder("hashing").fit_transform(TEXTS))


@pytest.mark.parametrize(
    ("name", "items", "message"),
    [
        ("hashing", [*TEXTS, None], r"item '4': expected a text, found NoneType"),
        ("hashing", [*TEXTS, float("nan")], r"item '4': expected a text, found float"),
        ("hashing", "one text", r"expected a sequence of items, found one str"),
        ("hashing", [], r"expected at least one item"),
        ("hashing", np.array([TEXTS, TEXTS]), r"expected one column of items, found an array \(2, 4\)"),
        ("pixels", [*images(2), "none.png"], r"item '2 \(none\.png\)': can't be read: No such file"),
        ("pixels", [*images(2), b"no image"], r"item '2': not an image"),
        ("pixels", [*images(2), np.zeros((4, 4))], r"item '2': expected an array of uint8"),
        ("pixels", [3], r"item '0': expected a path, a Pillow image or a uint8 array .*, found int"),
        ("pixels", images(1)[0], r"expected a sequence of images, found one, an array \(9, 9, 3\)"),
        ("pixels", np.zeros((4, 4)), r"expected one column of items, found an array \(4, 4\)"),
    ],
)
def test_an_item_that_cannot_be_read_is_named_by_its_position(name, items, message):
    with pytest.raises(IceboxError, match=message):
        Encoder(name).fit(items)


def test_a_damaged_image_is_an_error_again_the_second_time(tmp_path):
    Image.fromarray(images()[0]).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-40])
    with Image.open(tmp_path / "cut.png") as opened:
        for item in (tmp_path / "cut.png", tmp_path / "cut.png", opened):
            with pytest.raises(IceboxError, match=r"item '8.*damaged or cut short"):
                Encoder("pixels").fit([*images(), item])


# --- the cache


def test_a_second_pass_encodes_nothing_and_a_longer_one_only_what_is_new(log, cache):
    first = Encoder("pixels").fit_transform(images(6))
    shards = {path: path.stat().st_mtime_ns for path in cache.glob("shards/*/shard-*.h5")}
    assert shards
    np.testing.assert_array_equal(Encoder("pixels").fit_transform(images(6)), first)
    assert {path: path.stat().st_mtime_ns for path in cache.glob("shards/*/shard-*.h5")} == shards
    Encoder("pixels").fit_transform(images(8))
    assert passed(log) == [6, 0, 2]


def test_a_search_passes_each_item_once(log):
    items, labels = images(12), [0, 1] * 6
    search = GridSearchCV(
        make_pipeline(Encoder("pixels"), LogisticRegression()), {"logisticregression__C": [0.1, 1.0]}, cv=3
    ).fit(items, labels)
    assert sum(passed(log)) == 12
    assert search.score(items, labels) == 1.0


def test_the_cache_folder_is_the_argument_or_the_variable_or_the_users(tmp_path, monkeypatch):
    assert cached_backbones.cache_folder(tmp_path / "own") == tmp_path / "own"
    assert cached_backbones.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("ICEBOX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    if sys.platform == "linux":
        assert cached_backbones.cache_folder() == tmp_path / "users" / "icebox"


def test_nothing_is_left_beside_weights_shards_and_locks(cache):
    Encoder("hashing").fit(TEXTS)
    assert {path.name for path in cache.iterdir()} == {"backbones", "locks", "shards"}


@pytest.mark.slow
def test_processes_at_work_on_one_cache_wait_for_each_other(cache):
    """Extraction alone refuses a cache that another process holds; a search with `n_jobs` has several processes."""
    code = "from icebox import Encoder; Encoder('hashing').fit([str(i) for i in range(300)])"
    workers = [subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]


def test_nothing_is_printed(capfd):
    Encoder("hashing").fit(TEXTS)
    assert capfd.readouterr() == ("", "")


# --- in scikit-learn's company


def test_it_works_in_a_pipeline_under_cross_validation():
    model = make_pipeline(Encoder("pixels"), StandardScaler(), LogisticRegression())
    assert cross_val_score(model, images(12), [0, 1] * 6, cv=3).mean() == 1.0


@pytest.mark.parametrize("column", ["text", ["text"]], ids=["one dimension", "two dimensions"])
def test_it_works_on_a_column_of_a_table(column):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"text": TEXTS, "length": [3.0, 2.0, 1.0, 4.0]})
    columns = ColumnTransformer([("words", Encoder("hashing"), column), ("rest", StandardScaler(), ["length"])])
    assert columns.fit_transform(table).shape == (4, 4097)
    assert list(columns.get_feature_names_out()[[0, -1]]) == ["words__encoder0", "rest__length"]


@pytest.mark.parametrize("column", [0, [0]])
def test_it_works_on_a_column_of_an_array(column):
    array = np.array([TEXTS, TEXTS], object).T
    assert ColumnTransformer([("words", Encoder("hashing"), column)]).fit_transform(array).shape == (4, 4096)


# --- backbones


def test_a_network_of_torchvision_is_fetched_once_and_shared_by_clones(log, cache):
    encoder = Encoder("squeezenet1_1", weights="random", precision="float32", outputs=["features.3:avg", "last"])
    features = encoder.fit_transform(images(4))
    weights = next(cache.glob("backbones/squeezenet1_1-*/weights.safetensors"))
    before = weights.stat().st_mtime_ns
    np.testing.assert_array_equal(clone(encoder).fit_transform(images(4)), features)
    assert features.shape == (4, 128 + 512)
    assert weights.stat().st_mtime_ns == before
    assert passed(log) == [4, 0]


def test_precision_auto_is_settled_by_fit_and_recorded():
    encoder = Encoder("squeezenet1_1", weights="random")
    encoder.fit(images(4))
    assert encoder.precision == "auto"
    assert encoder.precision_ in ("float32", "bfloat16")
    assert encoder.transform(images(2)).shape == (2, 512)


@pytest.mark.parametrize(
    ("params", "name"), [("pixels: {size: 4}", "pixels"), ("small: {family: pixels, size: 4}", "small")]
)
def test_a_folder_of_a_project_is_a_backbone(params, name, tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    (project / "params.yaml").write_text(
        f"datasets: {{d: {{source: digits}}}}\nheads: {{knn: {{}}}}\n"
        f"backbones: {{{params}}}\nstores: {{s: {{dataset: d, backbone: {name}}}}}\n"
    )
    monkeypatch.chdir(project)
    fetch.run(loader.load(), name)
    monkeypatch.chdir(tmp_path)
    encoder = Encoder(str(project / paths.backbone(name)))
    assert encoder.fit_transform(images()).shape == (8, 16)


def test_other_weights_in_a_projects_folder_are_noticed(tmp_path):
    folder = tmp_path / "data/backbones/mine"
    folder.mkdir(parents=True)
    (folder / "backbone.json").write_text(json.dumps({"family": "pixels", "size": 4, "grey": True}))
    encoder = Encoder(str(folder)).fit(images())
    (folder / "backbone.json").write_text(json.dumps({"family": "pixels", "size": 16, "grey": True}))
    with pytest.raises(IceboxError, match="not the one of fit any more"):
        encoder.transform(images())


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("resnet19", r"backbone 'resnet19': .*did you mean 'resnet18'"),
        ("torchvision", r"torchvision\.model: missing"),
        ("cnn", r"'cnn' is trained in a project; give its folder there"),
        ("./no/such/folder", r"expected a folder with config\.json, or OWNER/NAME"),
    ],
)
def test_a_name_that_is_no_backbone_says_what_would_be_one(backbone, message, cache):
    with pytest.raises(IceboxError, match=message):
        Encoder(backbone).fit(images())
    assert not list(cache.glob("backbones/*"))


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"model_type": "vit", "image_size": 32}, "transformers_vision"),
        ({"model_type": "clip", "vision_config": {}, "text_config": {}}, "transformers_vision"),
        ({"model_type": "convnext", "num_channels": 3}, "transformers_vision"),
        ({"model_type": "bert", "hidden_size": 16}, "transformers"),
    ],
)
def test_a_saved_network_takes_images_or_texts_as_its_config_says(config, family, tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/config.json").write_text(json.dumps(config))
    assert backbone_names.settings("saved") == {"family": family, "weights": "saved"}
    assert backbone_names.settings("owner/name", weights="saved") == {"family": family, "weights": "saved"}


def test_a_network_of_the_hub_is_looked_up_by_its_config_alone(tmp_path, monkeypatch):
    asked = []

    def download(*arguments, **keywords):
        asked.append(arguments)
        (tmp_path / "config.json").write_text('{"model_type": "dinov2", "patch_size": 14}')
        return str(tmp_path / "config.json")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert backbone_names.settings("a/b") == {"family": "transformers_vision", "weights": "hub:a/b"}
    assert asked == [("a/b", "config.json")]


def test_minilm_comes_pinned_from_its_package_or_from_the_hub(monkeypatch):
    pinned = {"family": "transformers", "sha256": backbone_names.MINILM_SHA256}
    monkeypatch.setattr(backbone_names, "MINILM_PACKAGE", "no-such-package")
    hub = {"weights": "hub:sentence-transformers/all-MiniLM-L6-v2"}
    assert backbone_names.settings("minilm") == pinned | hub
    monkeypatch.setattr(backbone_names, "MINILM_PACKAGE", "numpy")
    assert backbone_names.settings("minilm") == pinned | {"weights": "package:numpy"}
    assert backbone_names.settings("minilm", weights="mine") == {"family": "transformers", "weights": "mine"}


@pytest.fixture
def prompted(tmp_path) -> str:
    """The folder of a network of sentence-transformers with two prompts, `query` and `passage`."""
    return str(sentence_folder(tmp_path / "prompted", pooling_mode_mean_tokens=True))


PROMPTS = [("query", "the "), ("passage", "a dog "), ("far ", "far "), ("", "")]


@pytest.mark.parametrize(("prompt", "written"), PROMPTS)
def test_a_prompt_stands_before_each_text(prompted, prompt, written):
    texts, outputs = ["the mat", "a dog sat"], ["last:mean"]
    features = Encoder(prompted, outputs=outputs, precision="float32", prompt=prompt).fit_transform(texts)
    plain = Encoder(prompted, outputs=outputs, precision="float32")
    expected = plain.fit_transform([written + text for text in texts])
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_an_encoder_of_another_prompt_passes_texts_again_and_clones_keep_theirs(prompted, log):
    texts, outputs = ["the mat", "a dog sat"], ["last:mean"]
    encoder = Encoder(prompted, outputs=outputs, precision="float32", prompt="query").fit(texts)
    plain = Encoder(prompted, outputs=outputs, precision="float32").fit(texts)
    assert passed(log) == [2, 2]
    assert encoder.fingerprint_ != plain.fingerprint_
    np.testing.assert_array_equal(clone(encoder).fit_transform(texts), encoder.transform(texts))
    assert passed(log) == [0, 0]
    encoder.prompt = "passage"
    with pytest.raises(IceboxError, match="is not the one of fit any more; fit again"):
        encoder.transform(texts)


def test_a_prompt_that_can_not_be_is_a_line(prompted):
    with pytest.raises(IceboxError, match=r"no prompt named 'querry'; did you mean 'query'\?"):
        Encoder(prompted, outputs=["last:mean"], prompt="querry").fit(TEXTS)
    with pytest.raises(IceboxError, match="prompt: backbone family 'hashing' has no such option; leave it out"):
        Encoder("hashing", prompt="query: ").fit(TEXTS)


def test_texts_are_cleaned_by_the_named_steps_first():
    raw, clean = ["So   GOOD @ann", "plain"], ["so good @user", "plain"]
    encoder = Encoder("hashing", clean=["mentions", "lower"])
    np.testing.assert_array_equal(encoder.fit_transform(raw), Encoder("hashing").fit_transform(clean))
    with pytest.raises(IceboxError, match="clean: no step 'lowr'; did you mean 'lower'"):
        Encoder("hashing", clean=["lowr"]).fit(raw)
