"""New items for a head that aligns: to the statistics that it keeps, to their own, or not at all."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icebox.pipeline.cli.app import main
from icebox.pipeline.estimators import alignment
from icebox.pipeline.estimators.alignment import AlignedHead, Statistics
from icebox.pipeline.estimators.decision import OffsetHead
from icebox.pipeline.estimators.ensemble import MeanEnsemble
from icebox.pipeline.inference import bundle
from tests.pipeline.inference.heads import fit

GREYS = {"dark": 60, "bright": 120}
BRIGHTER = 70  # by which the pictures of the other place are


def pictures(n: int, *, more: int = 0) -> list[tuple[np.ndarray, str]]:
    """n pictures of 6×6, half of them dark and half bright, which differ by some levels."""
    random = np.random.default_rng(more)
    names = [("dark", "bright")[i % 2] for i in range(n)]
    return [(np.full((6, 6), GREYS[name] + more + random.integers(-15, 15), np.uint8), name) for name in names]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("aligned")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = fit("photos", pictures(40), backbone="pixels", source="image_folder", parameters={"path": "raw"})
        own = np.array([grey[0, 0] for grey, _ in pictures(40)]) / 255
        statistics = Statistics(np.full(16, own.mean()), np.full(16, own.std()))
        # kept are the statistics of a test set that lay where train does
        head = AlignedHead(made.head, "standardize", statistics, statistics)
        bundle.save(replace(made, head=head), input_name="aligned", head="head")
        members = OffsetHead(MeanEnsemble([head, head], 2), np.zeros(2))
        bundle.save(replace(made, head=members), input_name="several", head="head")
        for i, (picture, name) in enumerate(pictures(40, more=BRIGHTER)):
            path = Path("elsewhere", name, f"{i}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    return folder


@pytest.fixture
def run(project, monkeypatch, capsys):
    """Run a command → (exit code, stdout, stderr)."""
    monkeypatch.chdir(project)

    def command(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def accuracy(output: str) -> float:
    rows = list(csv.DictReader(io.StringIO(output)))
    assert len(rows) == 40
    return float(np.mean([row["label"] == Path(row["input"]).parent.name for row in rows]))


@pytest.mark.parametrize("head", ["aligned/head", "several/head"])
def test_items_from_elsewhere_are_answered_rightly_when_they_are_aligned_together(run, head):
    assert accuracy(run("predict", head, "elsewhere", "--adapt", "items")[1]) == 1.0
    for arguments in ((), ("--adapt", "saved"), ("--adapt", "none")):
        assert accuracy(run("predict", head, "elsewhere", *arguments)[1]) < 0.7


def test_an_evaluation_shows_the_scores_without_beside(run):
    found = json.loads(run("evaluate", "aligned/head", "elsewhere", "--adapt", "items", "--json")[1])
    assert found["scores"]["accuracy"]["value"] == 1.0
    assert found["unadapted"]["accuracy"]["value"] < 0.7
    assert found["unadapted"]["accuracy"]["low"] < found["unadapted"]["accuracy"]["value"]
    text = run("evaluate", "aligned/head", "elsewhere", "--adapt", "items")[1]
    assert "not aligned" in text
    assert "transductive: items were aligned as a set" in text
    plain = json.loads(run("evaluate", "aligned/head", "elsewhere", "--adapt", "none", "--json")[1])
    assert plain["unadapted"] == {}
    assert plain["scores"]["accuracy"] == found["unadapted"]["accuracy"]


def test_a_head_without_alignment_and_too_few_items_are_errors_of_one_line(run):
    code, out, error = run("predict", "photos/head", "elsewhere", "--adapt", "items")
    assert (code, out) == (1, "")
    assert "--adapt items: photos/head was fitted without alignment; set adapt: standardize" in error
    assert len(error.splitlines()) == 1
    code, _, error = run("predict", "aligned/head", "elsewhere/dark", "--adapt", "items")
    assert code == 1
    assert "--adapt items: standardize makes statistics of the target's own items and needs 30 items or more" in error
    assert len(error.splitlines()) == 1


def test_alignment_is_found_wherever_it_is():
    inner = AlignedHead(object(), "coral", *[Statistics(np.zeros(1), np.eye(1))] * 2)
    assert alignment.is_aligned(inner)
    assert alignment.is_aligned(OffsetHead(MeanEnsemble([inner], 2), np.zeros(2)))
    assert not alignment.is_aligned(OffsetHead(MeanEnsemble([object()], 2), np.zeros(2)))
