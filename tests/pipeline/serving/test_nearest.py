"""The nearest items of train: exact, by index, and with what can be shown of them."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.project import paths
from icebox.pipeline.serving import app, nearest
from icebox.pipeline.serving.nearest import TrainItems, unit
from icebox.pipeline.serving.predictor import HeadPredictor
from tests.pipeline.serving.heads import fit_pictures, fit_texts


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_texts_come_with_labels_distances_and_what_they_say(project: Path) -> None:
    fit_texts()
    with TestClient(app.build(app.Service(HeadPredictor("notes/head")))) as client:
        (item,) = client.post("/predict?nearest=2", json={"texts": ["so good"]}).json()["items"]
        first, second = item["nearest"]
        assert (first["label"], first["text"]) == ("plus", "so good")
        assert first["distance"] == pytest.approx(0, abs=1e-6)
        assert first["distance"] < second["distance"] < 2
        assert "nearest" not in client.post("/predict", json={"texts": ["so good"]}).json()["items"][0]
        for count, status in (("0", 200), ("20", 200), ("21", 400), ("-1", 400), ("x", 400), ("9" * 5000, 400)):
            assert client.post(f"/predict?nearest={count}", json={"texts": ["a"]}).status_code == status
        assert client.get("/model").json()["nearest"]


def test_pictures_come_with_small_ones_where_raw_data_is_here(project: Path) -> None:
    fit_pictures()
    picture = Path("raw/photos/bright/185.png").read_bytes()
    with TestClient(app.build(app.Service(HeadPredictor("photos/head")))) as client:
        (item,) = client.post("/predict?nearest=3", files={"i": ("a", picture)}).json()["items"]
        assert len(item["nearest"]) == 3
        small = client.get(item["nearest"][0]["thumbnail"])
        assert small.headers["content-type"] == "image/png"
        for address in ("/train/99", "/train/99999999999999999999"):
            assert client.get(address).status_code == 404
        assert client.get("/train/-1").status_code == 404
        shutil.rmtree("raw")
        (item,) = client.post("/predict?nearest=1", files={"i": ("a", picture)}).json()["items"]
        assert set(item["nearest"][0]) == {"id", "label", "distance"}


def test_without_the_store_or_the_wish_nothing_is_shown_of_train(project: Path) -> None:
    fit_texts()
    without = app.Service(HeadPredictor("notes/head"), shows_train=False)
    shutil.rmtree(paths.store("notes"))
    for service in (without, app.Service(HeadPredictor("notes/head"))):
        with TestClient(app.build(service)) as client:
            assert not client.get("/model").json()["nearest"]
            response = client.post("/predict?nearest=3", json={"texts": ["a"]})
            assert (response.status_code, "'nearest': not known here" in response.text) == (400, True)
            assert client.get("/train/0").status_code == 404


def test_an_index_finds_what_the_comparison_with_all_finds(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = fit_texts()
    features = FeatureStore(paths.store("notes")).load()
    exact = TrainItems.of(bundle).nearest(features, 2)
    monkeypatch.setattr(nearest, "IN_MEMORY_BYTES", 0)
    for _ in range(2):  # made, and opened again
        train = TrainItems.of(bundle)
        until_s = time.monotonic() + 60
        while (found := train.nearest(features, 2)) is None:  # while it is made
            assert time.monotonic() < until_s
            time.sleep(0.01)
        assert [each[0].item_id for each in found] == [each[0].item_id for each in exact]
        np.testing.assert_allclose(
            [[one.distance for one in each] for each in found],
            [[one.distance for one in each] for each in exact],
            atol=2e-3,
        )
    assert len(list(nearest.INDICES.glob("*.usearch"))) == 1


def test_members_of_a_joined_store_have_equal_shares() -> None:
    features = np.array([[3.0, 4.0, 100.0, 0.0], [0.0, 1.0, 0.0, 5.0]], np.float32)
    scaled = unit(features, [(0, 2), (2, 4)])
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(scaled[0] @ scaled[1], (0.8 + 0.0) / 2, rtol=1e-6)
