"""An export behind HTTP: as the head that it was made of, from a folder alone."""

import json
import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from icebox.features.errors import IceboxError
from icebox.pipeline.cli.app import main
from icebox.pipeline.export.export import export
from icebox.pipeline.inference import fitted_head
from icebox.pipeline.serving import app
from icebox.pipeline.serving.predictor import HeadPredictor
from icebox.pipeline.serving.sketching import SketchFile
from tests.pipeline.export import test_export


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an export of a head on pictures, and pictures beside it."""
    root = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        test_export.photos(root / "photos")
        (root / "data/backbones/glyphnet").mkdir(parents=True)
        test_export.fit_photos()
        export("photos-glyphnet/head", root / "model")
    return root / "model"


@pytest.mark.slow
def test_it_answers_as_load_does_and_has_no_items_of_train(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent.parent)  # no project
    pictures = sorted(model.parent.glob("photos/*/*.png"))
    expected = fitted_head.load(str(model)).predict([str(each) for each in pictures])
    predictor = HeadPredictor(str(model))
    with TestClient(app.build(app.Service(predictor))) as client:
        files = [("images", (each.name, each.read_bytes())) for each in pictures]
        answer = client.post("/predict", files=files).json()
        assert answer["head"] == "model"
        assert [item["label"] for item in answer["items"]] == list(expected)
        assert not client.get("/model").json()["nearest"]
    with pytest.raises(IceboxError, match="which model has not"):
        SketchFile(Path("x.sketch"), predictor)


def test_its_answers_make_no_sketch(model: Path, monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    monkeypatch.chdir(model.parent)
    assert main(["predict", "model", "photos", "--sketch", str(tmp_path / "s.sketch")]) == 1
    assert "gives answers only; name the head" in capsys.readouterr().err
    assert not (tmp_path / "s.sketch").exists()


def test_its_image_holds_the_export_alone(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    assert main(["serve", "model", "--dockerfile", "image"]) == 0
    assert sorted(each.name for each in Path("image/project").iterdir()) == ["model"]
    entry = next(line for line in Path("image/Dockerfile").read_text().splitlines() if line.startswith("ENTRYPOINT"))
    assert json.loads(entry.partition(" ")[2])[4] == "model"
    assert "onnxruntime==" in Path("image/requirements.txt").read_text()


@pytest.mark.parametrize("name", ["a b", "é", "a\nRUN rm x", "-"])
def test_a_folder_of_any_name_has_an_image(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model, tmp_path / "exports" / name)
    assert main(["serve", str(tmp_path / "exports" / name), "--dockerfile", "image"]) == 0
    lines = Path("image/Dockerfile").read_text().splitlines()
    assert sum(line.startswith("RUN") for line in lines) == 2
    assert json.loads(next(line for line in lines if line.startswith("ENTRYPOINT")).partition(" ")[2])[4] == "model"
    assert "docker build -t icebox-" in lines[1]


def test_a_damaged_export_is_one_line(model: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(model.parent)
    config = model / "config.json"
    content = config.read_bytes()
    config.write_bytes(content + b"\n")
    try:
        assert main(["serve", "model", "--port", "0"]) == 1
    finally:
        config.write_bytes(content)
    error = capsys.readouterr().err
    assert "expected sha256" in error
    assert len(error.splitlines()) == 1
