"""The plugins that docs/plugins.md shows work as they stand there: from raw data to a fitted head."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

import icebox
from docs.builder import site
from icebox.pipeline.config import loader
from icebox.pipeline.stages import extract, fetch, fit, manifest
from tests.conftest import make_raw_data

PAGE = (site.DOCS / "plugins.md").read_text()
FILES = dict(re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE, flags=re.DOTALL))
PHOTOS = {"datasets": {"photos": {"source": "image_folder", "path": "raw/photos"}}}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project with the page's plugins and params, and data and weights for them."""
    make_raw_data(tmp_path / "raw")
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    params: dict = {**PHOTOS, "fit": {"seeds": 1}}
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL):
        for section, entries in YAML(typ="safe", pure=True).load(block).items():
            params[section] = params.get(section, {}) | entries
    with (tmp_path / "params.yaml").open("w") as stream:
        YAML(typ="safe", pure=True).dump(params, stream)
    random = np.random.default_rng(0)
    y = np.arange(90) % 3
    (tmp_path / "data/raw").mkdir(parents=True)
    np.savez(tmp_path / "data/raw/embeddings.npz", X=random.normal(size=(90, 16)) + 3 * y[:, None], y=y)
    torch.manual_seed(0)
    network = torch.nn.ModuleList([torch.nn.Conv2d(3, 16, 3), torch.nn.Identity(), torch.nn.Conv2d(16, 32, 3)])
    (tmp_path / "weights").mkdir()
    state = network.state_dict() | {"5.weight": torch.zeros(2, 32), "5.bias": torch.zeros(2)}
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "weights/small_net.pth"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_each_plugin_runs_and_its_head_learns(project):
    config = loader.load()
    for backbone in config.backbones:
        fetch.run(config, backbone)
    for store, entry in config.stores.items():
        manifest.run(config, entry.dataset)
        extract.run(config, store)
        fit.run(config, f"{store}-extra_trees")
    assert icebox.FeatureStore("data/stores/embeddings-as_is").load().shape == (90, 16)
    assert icebox.FeatureStore("data/stores/photos-small_net").load().shape == (60, 32)
    paths = [f"raw/photos/{name}" for name in ("bright/00.png", "dark/01.png")]
    assert icebox.load("photos-small_net/extra_trees").predict(paths).tolist() == ["bright", "dark"]
