import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from icebox.features.abc.backbone import Pretraining, read_settings
from icebox.features.backbones import glyphnet
from icebox.features.errors import IceboxError
from icebox.pipeline.training.checkpoint import Checkpoint
from icebox.pipeline.training.curves import Curve
from icebox.pipeline.training.curves import read as curve_of
from icebox.pipeline.training.pretrain_loop import POINTS, pretrain

FILES = {"weights.safetensors", "backbone.json", "metrics.json"}


class Halving(Pretraining):
    """Not learning at all: each step halves the only weight, which is the loss; `broken_at` is not a number."""

    def __init__(self, *, steps: int = 4, broken_at: int | None = None) -> None:
        self.seed = 0
        self.network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Dropout())
        nn.init.ones_(self.network[0].weight)
        self.steps, self.broken_at = steps, broken_at

    @property
    def parts(self) -> dict[str, Any]:
        return {"network": self.network}

    def step(self, index: int) -> float:
        assert self.network.training
        with torch.no_grad():
            self.network[0].weight /= 2
        return float("nan") if index == self.broken_at else self.network[0].weight.item()

    def evaluate(self) -> dict[str, float]:
        assert not self.network.training
        return {"accuracy": 2 / 3}

    def settings(self) -> dict[str, Any]:
        return {"width": 1}


def test_the_folder_holds_weights_settings_and_scores_and_nothing_else(tmp_path):
    scores = pretrain(Halving(), tmp_path / "new" / "halving", family="halving")
    folder = tmp_path / "new" / "halving"
    assert {path.name for path in folder.iterdir()} == FILES
    assert load_file(folder / "weights.safetensors")["0.weight"].item() == 1 / 16
    assert read_settings(folder) == {"family": "halving", "width": 1}
    assert json.loads((folder / "metrics.json").read_text()) == scores == {"accuracy": 0.666667}


def test_the_curve_has_the_mean_loss_of_each_stretch_of_steps(tmp_path):
    pretrain(Halving(), tmp_path / "one", family="halving", curve=Curve(tmp_path / "short"))
    lines = curve_of(tmp_path / "short")
    assert lines == [{"step": i + 1, "train/loss": 0.5 ** (i + 1)} for i in range(4)]
    summary = json.loads((tmp_path / "short/metrics.json").read_text())
    assert summary == {"train": {"loss": 0.0625}, "step": 4, "accuracy": 0.666667}
    pretrain(Halving(steps=2 * POINTS), tmp_path / "two", family="halving", curve=Curve(tmp_path / "long"))
    lines = curve_of(tmp_path / "long")
    assert len(lines) == POINTS
    assert lines[0] == {"step": 2, "train/loss": (0.5 + 0.25) / 2}


def test_a_run_that_goes_on_draws_its_curve_from_the_first_step(tmp_path):
    class Killed(Halving):
        def step(self, index: int) -> float:
            if index == 3:
                raise KeyboardInterrupt
            return super().step(index)

    def run(pretraining: Pretraining) -> None:
        checkpoint, curve = Checkpoint(tmp_path / "checkpoint.pt", every_s=0), Curve(tmp_path / "killed")
        pretrain(pretraining, tmp_path / "x", family="x", checkpoint=checkpoint, curve=curve)

    with pytest.raises(KeyboardInterrupt):
        run(Killed())
    run(Halving())
    pretrain(Halving(), tmp_path / "y", family="y", curve=Curve(tmp_path / "whole"))
    for name in ("metrics.json", "plots/metrics/train/loss.tsv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_loss_that_is_no_number_stops_with_its_step_and_leaves_no_complete_backbone(tmp_path):
    pretrain(Halving(), tmp_path, family="halving")
    with pytest.raises(IceboxError, match="step 2 of 4"):
        pretrain(Halving(broken_at=2), tmp_path, family="halving")
    assert not (tmp_path / "backbone.json").exists()


def test_a_failure_after_training_leaves_no_complete_backbone_and_no_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(Halving, "settings", lambda self: {"width": object()})
    with pytest.raises(TypeError):
        pretrain(Halving(), tmp_path, family="halving")
    assert list(tmp_path.iterdir()) == []


def test_equal_seeds_leave_equal_bytes_and_other_seeds_other_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(glyphnet, "FONTS", ("DejaVuSans",))  # drawing all of them takes seconds

    def made(name: str, seed: int) -> dict[str, bytes]:
        learner = glyphnet.pretraining(seed=seed, steps=3, batch_size=16, width=4)
        pretrain(learner, tmp_path / name, family="glyphnet")
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    first, again, other = made("first", 0), made("again", 0), made("other", 1)
    assert first == again
    assert first["weights.safetensors"] != other["weights.safetensors"]
