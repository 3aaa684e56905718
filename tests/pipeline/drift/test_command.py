"""`predict --sketch`, `serve --sketch` and `drift` on a project's own head."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from icebox.pipeline.cli.app import main
from icebox.pipeline.drift import sketch
from icebox.pipeline.serving import app
from icebox.pipeline.serving.predictor import HeadPredictor
from icebox.pipeline.serving.sketching import SketchFile
from tests.pipeline.serving.heads import fit_dataset


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("drift")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pictures(Path("raw/photos/bright"), 150, 60)
        pictures(Path("raw/photos/dark"), 50, 60)
        fit_dataset("photos", "pixels", "image_folder", {"path": "raw/photos"})
        pictures(Path("same/a"), 150, 25, seed=1)
        pictures(Path("same/b"), 50, 25, seed=2)
        pictures(Path("other"), 240, 50, seed=3)
        yield folder


def pictures(folder: Path, grey: int, count: int, *, seed: int = 0) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for i in range(count):
        noise = np.clip(random.normal(grey, 15, (6, 6)), 0, 255).astype(np.uint8)
        Image.fromarray(noise).save(folder / f"{i:03}.png")


def test_the_exit_code_says_whether_new_items_are_of_the_kind_of_train(project: Path, capsys) -> None:
    assert main(["predict", "photos/head", "same", "--sketch", "same.sketch"]) == 0
    assert main(["predict", "photos/head", "other", "--sketch", "other.sketch"]) == 0
    capsys.readouterr()
    assert main(["drift", "photos/head", "same.sketch"]) == 0
    assert capsys.readouterr().out.startswith("no drift: the 50 new items can't be told from train\n  mean ")
    assert main(["drift", "photos/head", "other.sketch"]) == 3
    assert capsys.readouterr().out.startswith("drift: the 50 new items are of another kind than train")
    assert main(["drift", "photos/head", "same.sketch", "other.sketch", "--json"]) == 3
    content = json.loads(capsys.readouterr().out)
    assert (content["drift"], content["items"], len(content["tests"])) == (True, 100, 4)


def test_a_sketch_goes_on_from_its_file(project: Path, capsys) -> None:
    for count in (50, 100):
        assert main(["predict", "photos/head", "same", "--sketch", "twice.sketch"]) == 0
        assert sketch.read(Path("twice.sketch")).count == count


def test_the_server_keeps_one_too(project: Path) -> None:
    predictor, path = HeadPredictor("photos/head"), Path("sub/served.sketch")
    for count in (25, 50):
        service = app.Service(predictor, sketch=SketchFile(path, predictor))
        with TestClient(app.build(service)) as client:
            files = [("i", (each.name, each.read_bytes())) for each in sorted(Path("same/a").iterdir())]
            assert client.post("/predict", files=files).status_code == 200
        assert sketch.read(path).count == count
    expected = sketch.Sketch(predictor.sketch_source())
    assert main(["predict", "photos/head", "same/a", "--sketch", "offline.sketch"]) == 0
    expected = sketch.read(Path("offline.sketch"))
    np.testing.assert_allclose(sketch.read(path).mean, expected.mean, rtol=1e-6)


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("photos/head none.sketch", "none.sketch: not found"),
        ("photos/head raw/photos/dark/000.png", "no whole sketch"),
        ("photos/head few.sketch", "expected 20 items or more to tell anything, found 3"),
        ("photos/head alien.sketch", "of other features than this head's"),
        ("photos/head same.sketch --split test", "expected 20 items or more"),
        ("photos/head same.sketch same.sketch", "holds items that are in another sketch already"),
        ("photos/head same.sketch ./copy.sketch", "holds items that are in another sketch already"),
        ("model same.sketch", "model: is an export, which holds no features"),
        ("photos/haed same.sketch", "did you mean 'photos/head'?"),
    ],
)
def test_what_can_not_be_compared_is_one_line(project: Path, capsys, command: str, part: str) -> None:
    source = HeadPredictor("photos/head").sketch_source()
    few = sketch.Sketch(source)
    few.add(np.zeros((3, 48)))
    few.write(Path("few.sketch"))
    alien = sketch.Sketch(source | {"fingerprint": "x"})
    alien.add(np.zeros((30, 48)))
    alien.write(Path("alien.sketch"))
    if not Path("same.sketch").exists():
        main(["predict", "photos/head", "same", "--sketch", "same.sketch"])
    Path("copy.sketch").write_bytes(Path("same.sketch").read_bytes())
    Path("model").mkdir(exist_ok=True)
    Path("model/config.json").write_text('{"icebox_export": 1}')
    capsys.readouterr()
    assert main(["drift", *command.split()]) == 1
    error = capsys.readouterr().err
    assert part in error
    assert len(error.splitlines()) == 1
