"""Runs of networks that can't be saved end before they begin; where an unfitted head comes from."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from icebox.features import fingerprint
from icebox.features.backbones import module
from icebox.features.backbones import transformers as text_family
from icebox.features.errors import IceboxError
from icebox.pipeline.unfreezing import runs
from tests.features.backbones.test_module import archive
from tests.features.backbones.test_transformers import bert, save, t5


def exported(folder):
    archive(folder / "net.pt2")
    pinned = fingerprint.of_file(folder / "net.pt2")
    module.fetch(folder / "b", weights=str(folder / "net.pt2"), size=32, sha256=pinned)
    return module.load(folder / "b", outputs=["last"], device="cpu")


def text_network(folder, make):
    text_family.fetch(folder / "b", weights=str(save(folder / "source", make)))
    return text_family.load(folder / "b", outputs=["last:mean"], device="cpu")


def job_of(folder, backbone):
    """A job of which no more is there than a run needs up to its first step."""

    def reached(*_arguments):
        raise AssertionError("training began")

    return SimpleNamespace(
        folder=folder / "job",
        load_backbone=lambda: backbone,
        options=SimpleNamespace(seed=0, init="pretrained", model_copy=lambda update: job_options(update)),
        config=SimpleNamespace(run=SimpleNamespace(workers=1)),
        rows=SimpleNamespace(items=reached),
    )


def job_options(update):
    return SimpleNamespace(seed=0, init="pretrained", **{k: v for k, v in update.items() if k != "seed"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (exported, "an archive of torch.export can't be written anew; give the network by `build` to train it"),
        (lambda folder: text_network(folder, t5), "is half a network, which can't be saved as a whole one"),
    ],
)
def test_a_network_that_can_not_be_saved_is_refused_before_it_is_trained(tmp_path, monkeypatch, make, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IceboxError, match=message):
        runs.run(job_of(tmp_path, make(tmp_path)), cache=None, seed=0)
    assert not list((tmp_path / "job").iterdir())


def test_one_that_can_be_saved_goes_on_and_leaves_no_trial_behind(tmp_path):
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match="training began"):
        runs.run(job_of(tmp_path, text_network(tmp_path, bert)), cache=None, seed=0)
    assert not list((tmp_path / "job").iterdir())


def test_an_unfitted_head_is_drawn_from_the_runs_own_seed_and_leaves_others_draws_alone():
    items = Items()
    job = SimpleNamespace(
        options=SimpleNamespace(start_head="fresh", seed=0, batch_size=2),
        standardization_items=4,
        model=lambda backbone, head: lambda inputs: torch.zeros(2, 3),
        fresh_head=lambda features: nn.Linear(features.shape[1], 2),
    )
    backbone = SimpleNamespace(layer_outputs=SimpleNamespace(network=nn.Linear(1, 1)))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, second = (runs.start_head(job, backbone, items, seed).weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert torch.equal(torch.rand(1), expected)


class Items:
    """Four items."""

    def __len__(self):
        return 4

    def batches(self, order, size):
        return [(order[:2], [0, 1]), (order[2:], [2, 3])]

    def inputs(self, prepared):
        return prepared
