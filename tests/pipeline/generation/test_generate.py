import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icebox.features.datasets.wikitext2 import FILES
from icebox.pipeline.cli.app import main
from tests import learnable
from tests.conftest import make_raw_data

PARAMS = """
datasets:
  photos: {source: image_folder, path: raw/photos}
  wikitext2: {path: raw/wikitext2}
pretrain:
  cnn: {data: photos, epochs: 1, batch_size: 16, d: 8, width: 2}
  vae: {data: photos, epochs: 1, batch_size: 16, z: 4, d: 8, width: 2}
  cgan: {data: photos, steps: 2, batch_size: 16, z: 4, d: 8, width: 2}
  rnn_lm: {data: wikitext2, epochs: 1, batch_size: 2, tokens: 5, width: 6, layers: 1}
generate:
  vae: {data: photos, judge: cnn, n: 4, judged: 20}
  cgan: {data: photos, judge: cnn, n: 4, judged: 20}
  rnn_lm: {data: wikitext2, judge: rnn_lm, judged: 3}
stores:
  photos-vae: {dataset: photos, backbone: vae}
heads: {logreg: {}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    make_raw_data(folder / "raw")
    (folder / "raw/wikitext2").mkdir()
    for name in FILES.values():
        (folder / "raw/wikitext2" / name).write_text(learnable.STORY.replace("Story", f"Story of {name}"))
    (folder / "params.yaml").write_text(PARAMS)
    before = Path.cwd()
    os.chdir(folder)
    commands = [("check",), *(("manifest", name) for name in ("photos", "wikitext2"))]
    commands += [("pretrain", name) for name in ("cnn", "vae", "cgan", "rnn_lm")]
    try:
        for command in commands:
            assert main(command) == 0
        yield folder
    finally:
        os.chdir(before)


def scores(project: Path, name: str) -> dict:
    assert main(["generate", name]) == 0
    found: dict = json.loads((project / "results/samples" / f"{name}.json").read_text())
    return found


def sheets(project: Path, name: str) -> set[str]:
    return {path.name for path in (project / "results/samples" / name).iterdir()}


@pytest.mark.slow
def test_pictures_are_shown_and_judged(project):
    found = scores(project, "vae")
    assert set(found) == {
        "frechet", "frechet_of_train", "nearest", "nearest_least", "nearest_of_test", "rarest_class"
    }  # fmt: skip
    assert found["frechet"] > found["frechet_of_train"]
    assert sheets(project, "vae") == {"new.png", "nearest.png", "reconstructions.png", "walk.png"}
    with Image.open(project / "results/samples/vae/new.png") as picture:
        assert picture.size == (4 * (28 * 3 + 4) + 4, 3 * (28 * 3 + 4) + 4)


def test_one_that_knows_classes_is_judged_by_them(project):
    found = scores(project, "cgan")
    assert set(found["agreement_by_class"]) == {"bright", "dark"}
    assert found["agreement"] == pytest.approx(np.mean(list(found["agreement_by_class"].values())))


def test_texts_are_shown_and_judged_by_a_language_model(project):
    found = scores(project, "rnn_lm")
    assert found["perplexity_of_test"] > 1
    assert sheets(project, "rnn_lm") == {"new.png", "continued.png"}


def test_the_command_writes_files_of_the_class_asked_for(project, tmp_path, capsys):
    assert main(["generate", "cgan", "--n", "3", "--label", "dark", "--out", str(tmp_path / "pictures")]) == 0
    assert {p.name for p in (tmp_path / "pictures").iterdir()} == {f"cgan-{i}-dark.png" for i in range(3)}
    assert main(["generate", "cgan", "--n", "2", "--out", str(tmp_path / "both")]) == 0
    assert {p.name for p in (tmp_path / "both").iterdir()} == {"cgan-0-bright.png", "cgan-1-dark.png"}
    assert main(["generate", "rnn_lm", "--n", "1", "--out", str(tmp_path / "texts")]) == 0
    assert (tmp_path / "texts/rnn_lm-0.txt").read_text().strip()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cnn", "--out", "x"], "makes no new items; those that do: cgan, gan, rnn_lm, vae"),
        (["vae", "--label", "dark", "--out", "x"], "can't be told what to make"),
        (["cgan", "--label", "drak", "--out", "x"], "did you mean 'dark'?"),
        (["vae", "--n", "0", "--out", "x"], "--n: expected 1 or more"),
        (["gna", "--out", "x"], "did you mean 'cgan'?"),
        (["cnn"], "no entry under generate:"),
    ],
)
def test_what_can_not_be_made_is_said(project, capsys, arguments, said):
    assert main(["generate", *arguments]) == 1
    assert said in capsys.readouterr().err


def test_a_finished_training_leaves_no_checkpoint(project):
    assert not list((project / ".icebox/trainings").glob("*/*.pt"))
