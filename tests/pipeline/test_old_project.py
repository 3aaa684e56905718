"""A project that version 0.1 wrote grows under today's code: its shards, stores and fingerprints stay what they are."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icebox.features.store import verification
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.cli.app import main

WRITTEN = Path(__file__).parents[1] / "fixtures/written_by_0.1"
STORES = {"photos-glyphnet": 2, "notes-hashing": 1}  # and in how many views


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = shutil.copytree(WRITTEN, tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


def features_of(store: FeatureStore) -> dict[tuple[str, str, str], np.ndarray]:
    """{(item, view, output): its row}."""
    return {
        (item, view, output): row
        for view in store.views
        for output in store.outputs
        for item, row in zip(store.item_ids, store.load(output=output, view=view), strict=True)
    }


def shards_of(name: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("data/stores", name).glob("shard-*.h5")}


def test_a_store_of_version_0_1_takes_in_a_new_item_and_passes_nothing_else(project, capsys):
    stores = {name: FeatureStore(project / "data/stores" / name) for name in STORES}
    features = {name: features_of(store) for name, store in stores.items()}
    shards = {name: shards_of(name) for name in STORES}
    assert all(len(store) == 24 for store in stores.values())
    assert [damage for store in stores.values() for damage in verification.verify_store(store.folder)] == []

    Image.new("RGB", (28, 28), (90, 40, 200)).save("raw/photos/bright/24.png")
    with Path("raw/notes.csv").open("a", encoding="utf-8") as file:
        file.write("a note that nobody has read before,plus\n")
    commands = ["check", "manifest photos", "manifest notes", *(f"extract {name}" for name in STORES)]
    assert [main(command.split()) for command in commands] == [0] * len(commands), capsys.readouterr().err

    output = capsys.readouterr().err
    for name, views in STORES.items():
        assert f"25 items{' in 2 views' if views > 1 else ''}, {views} distinct ones passed" in "".join(
            line for line in output.splitlines() if line.startswith(f"{name}:")
        )
        grown = FeatureStore(project / "data/stores" / name)
        assert grown.fingerprint == stores[name].fingerprint
        assert len(grown) == 25
        assert shards_of(name).items() > shards[name].items()
        after = features_of(grown)
        assert len(after) - len(features[name]) == views * len(grown.outputs)
        for key, row in features[name].items():
            np.testing.assert_array_equal(after[key], row)


def test_a_bundle_of_version_0_1_is_refused_in_one_line_that_says_to_fit_anew(project, capsys):
    assert main(["predict", "photos-glyphnet/logreg", "raw/photos"]) == 1
    error = capsys.readouterr().err
    assert "fit it anew: dvc repro -f fit@photos-glyphnet-logreg" in error
    assert len(error.splitlines()) == 1
