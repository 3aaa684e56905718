"""Networks of every family that an export takes, tiny and with random weights: each answers as its head does."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import icebox
from icebox.features.abc.backbone import write_settings
from icebox.features.abc.dataset import Pair
from icebox.features.backbones import cnn, module, transformers, transformers_vision, vae
from icebox.features.json_files import read_json
from icebox.pipeline.export.export import export
from icebox.pipeline.inference import bundle
from tests.features.backbones import test_transformers as tiny_texts
from tests.features.backbones import test_transformers_vision as tiny_vision
from tests.pipeline.export.test_export import listed, photos
from tests.pipeline.inference import heads

CODE = """
from torch import nn
def make(channels):
    return nn.Sequential(nn.Conv2d(channels, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "networks.py").write_text(CODE)
    torch.manual_seed(0)
    return tmp_path


def vision(folder, *, name):
    source = Path("source")
    with tiny_vision.silence():
        network, processor = tiny_vision.TINY[name]()
        network.save_pretrained(source)
        processor.save_pretrained(source)
    transformers_vision.fetch(folder, weights=str(source))


def trained(folder, network, settings):
    folder.mkdir(parents=True)
    save_file(network.state_dict(), folder / "weights.safetensors")
    write_settings(folder, settings)


def small_cnn(folder):
    sizes = {"width": 2, "d": 4}
    trained(folder, cnn.SmallCnn(classes=2, **sizes), {"family": "cnn", "network": sizes, "classes": ["dark", "light"]})


def small_vae(folder):
    sizes = {"z": 3, "d": 4, "width": 2}
    trained(folder, vae.Vae(**sizes), {"family": "vae", "network": sizes})


def own(folder, *, channels):
    levels = {"mean": [0.5], "std": [0.25]} if channels == 1 else {}
    module.fetch(folder, build="networks:make", arguments={"channels": channels}, weights="random", size=16, **levels)


FAMILIES = {  # a name: (family, what makes its folder, outputs)
    **{
        name: ("transformers_vision", partial(vision, name=name), outputs)
        for name, outputs in {
            "vit": ("last:cls", "last:avg"),
            "clip": ("embedding",),
        }.items()
    },
    "cnn": ("cnn", small_cnn, ("last", "stage2:avg")),
    "vae": ("vae", small_vae, ("last",)),
    "module": ("module", partial(own, channels=1), ("last", "0:max")),
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.slow
def test_of_pictures(here, name):
    family, make, outputs = FAMILIES[name]
    photos(here / "photos")
    make(here / "data/backbones/tiny")
    told = {"dataset": "photos", "source": "image_folder", "parameters": {"path": "photos"}}
    items = listed("photos", "image_folder", told["parameters"])
    heads.fit("photos-tiny", items, backbone="tiny", family=family, outputs=outputs, **told)
    assert_same_away(here, "photos-tiny/head", [content for content, _ in items])


@pytest.mark.parametrize("name", ["bert", "gpt2"])  # with a side for each token, and without a separator
@pytest.mark.slow
def test_of_pairs_in_one_input(here, name):
    source = tiny_texts.save(here / "source", tiny_texts.TINY[name])
    transformers.fetch(here / "data/backbones/tiny", weights=str(source))
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(tiny_texts.WORDS[2 : 5 + 4 * (i % 2)], 1 + i % 5)) for i in range(12)]
    lines = [
        f"{first},{second},{'xy'[i % 2]}\n" for i, (first, second) in enumerate(zip(texts, texts[::-1], strict=True))
    ]
    Path("notes.csv").write_text("a,b,label\n" + "".join(lines))
    parameters = {"path": "notes.csv", "label": "label", "first": "a", "second": "b"}
    items = listed("pairs", "csv_text", parameters)
    told = {"dataset": "pairs", "source": "csv_text", "parameters": parameters}
    fitted = heads.fit("pairs", items, backbone="tiny", family="transformers", outputs=("last:mean",), **told)
    bundle.save(replace(fitted, pairs=True), **{heads.SAVE_KEYWORD: "pairs"}, head="head")
    further = [Pair("cat", "the dog " * 20), Pair("", "a cat")]
    assert_same_away(here, "pairs/head", [content for content, _ in items] + further)
    assert read_json(here / "model/config.json", dict)["input"]["kind"] == "pair"


def assert_same_away(here, name, contents):
    export(name, here / "model")
    own, away = icebox.load(name), icebox.load(str(here / "model"))
    np.testing.assert_allclose(away.predict_proba(contents), own.predict_proba(contents), atol=1e-4)
    assert away.predict(contents).tolist() == own.predict(contents).tolist()
