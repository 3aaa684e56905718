"""Boxes on the way from a network's outputs to a loss and back: mirrored with their pictures, in their own pixels."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from icebox.features.abc.targets import Boxes
from icebox.features.errors import IceboxError
from icebox.features.nn.layer_outputs import Inputs
from icebox.pipeline.config.schema import FRESH
from icebox.pipeline.data import dense
from icebox.pipeline.data.dense import DenseData
from icebox.pipeline.dense import box_targets
from icebox.pipeline.heads import blobs, boxes
from icebox.pipeline.unfreezing.dense.detection import DetectionJob, DetectionTuner
from tests import dense_boxes
from tests.dense_boxes import store


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DenseData:
    return dense.load(store(tmp_path_factory.mktemp("blobs")))


def tuner(data: DenseData, **attributes: Any) -> DetectionTuner:
    """A tuner on train's pictures, of which no more is there than a test gives."""
    made = object.__new__(DetectionTuner)
    vars(made).update({"data": data, "head": boxes.build(), "pictures": data.train, **attributes})
    return made


def perfect(data: DenseData, item: int, view: str, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """What a network that knows the boxes would say of a picture."""
    h, w = size
    learnt = box_targets.targets(*box_targets.within(data.boxes(item), data.region(item, view)), 2, size)
    y, x = (np.arange(h) + 0.5)[:, None], np.arange(w) + 0.5
    left, upper, right, lower = learnt.corners
    sides = np.stack([x - left, y - upper, right - x, lower - y]).clip(1e-3).astype(np.float32)
    heat = np.log(learnt.heat.clip(1e-4, 0.9999) / (1 - learnt.heat.clip(1e-4, 0.9999)))
    return torch.from_numpy(heat)[None], torch.from_numpy(sides)[None]


def test_the_loss_is_least_for_the_boxes_of_the_view_that_the_network_saw(data: DenseData) -> None:
    for view, other in (("identity", "hflip"), ("hflip", "identity")):
        outputs = perfect(data, 0, view, (12, 16))
        mine, theirs = (float(tuner(data).loss_of(outputs, [(0, each)])) for each in (view, other))
        assert mine < 0.1 < theirs


def test_perfect_outputs_are_the_boxes_in_the_pictures_own_pixels(data: DenseData) -> None:
    made = tuner(data)
    items = data.train[:3].tolist()
    outputs = [torch.cat(each) for each in zip(*(perfect(data, i, "identity", (12, 16)) for i in items), strict=True)]
    answers = made.answers(tuple(outputs), items)
    for item, found in zip(items, answers, strict=True):
        truth = data.boxes(item)
        for corners, label in zip(truth.corners, truth.labels.tolist(), strict=True):
            best = found.corners[(found.labels == label) & (found.scores > 0.9)]
            np.testing.assert_allclose(best, [corners], atol=0.01)
    scored = made.score_answers(data.train[:3], answers)
    assert scored.scores["ap50"] == pytest.approx(1)
    assert "corners" in scored.predictions.answers
    assert not made.score_answers(data.train[:3], answers, choosing="ap").predictions.answers


def test_boxes_are_mirrored_where_their_pictures_are(data: DenseData) -> None:
    """The loss of each picture is by the view in which the network saw it."""
    images = torch.arange(24.0).reshape(6, 1, 2, 2)
    seen: dict[str, Any] = {}

    def network(inputs: list[Inputs]) -> torch.Tensor:
        seen["images"] = inputs[0].args[0]
        return seen["images"].mean()

    class Noted(DetectionTuner):
        def loss_of(self, outputs: Any, batch: Any) -> Any:
            seen["batch"] = batch
            return outputs

    made = object.__new__(Noted)
    fabric = SimpleNamespace(backward=lambda loss: None)
    train = SimpleNamespace(inputs=lambda prepared: [Inputs((images,))])
    options = SimpleNamespace(augment=["flip"])
    vars(made).update(
        {"pictures": data.train, "wrapped_model": network, "fabric": fabric, "train": train, "options": options}
    )
    made.backward(range(6), np.arange(6), 6, torch.Generator().manual_seed(0))
    assert [item for item, _ in seen["batch"]] == data.train.tolist()
    assert {view for _, view in seen["batch"]} == {"identity", "hflip"}
    for image, shown, (_, view) in zip(images, seen["images"], seen["batch"], strict=True):
        assert torch.equal(shown, image.flip(-1) if view == "hflip" else image)


class Two:
    """Two items, whose network gives no numbers."""

    def __len__(self) -> int:
        return 2

    def batches(self, order: np.ndarray, size: int) -> list[Any]:
        return [(order, [0, 1])]

    def sub_batches(self, prepared: list[int]) -> list[list[int]]:
        return [prepared]

    def inputs(self, prepared: list[int]) -> list[Inputs]:
        return [Inputs((torch.zeros(2, 2, 3, 4), torch.full((2, 4, 3, 4), torch.nan)))]


class Outputs(torch.nn.Module):
    def forward(self, inputs: list[Inputs]) -> Any:
        return inputs[0].args


def test_outputs_that_are_no_numbers_are_one_line(data: DenseData) -> None:
    made = tuner(data, model=Outputs(), options=SimpleNamespace(batch_size=2), micro_batch_size=2)
    with pytest.raises(IceboxError, match=r"^the network's outputs are no numbers[^\n]*smaller learning_rate$"):
        made.predict(Two(), data.train[:2])


def job(start_head: str, head: Any) -> DetectionJob:
    made = object.__new__(DetectionJob)
    vars(made).update(options=SimpleNamespace(start_head=start_head), start_bundle=SimpleNamespace(head=head))
    return made


def test_heads_without_a_network_of_boxes_are_one_line() -> None:
    with pytest.raises(IceboxError, match=r"^Blobs can't become a torch head; take boxes$"):
        job("blobs", blobs.build()).fitted_head()


@pytest.mark.parametrize("ignored", [False, True])
def test_a_val_without_a_box_that_counts_can_not_choose_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignored: bool
) -> None:
    whole = dense_boxes.scene

    def scene(number: int) -> tuple[np.ndarray, Boxes]:
        picture, truth = whole(number)
        if number < 6:  # train
            return picture, truth
        kept = slice(None) if ignored else slice(0)
        return picture, Boxes(truth.size, truth.corners[kept], truth.labels[kept], np.ones(len(truth), bool)[kept])

    monkeypatch.setattr(dense_boxes, "scene", scene)
    made = object.__new__(DetectionJob)
    options = SimpleNamespace(augment=[], **dict.fromkeys(DetectionJob.NOT_FOR, 0))
    of_input = SimpleNamespace(outputs=None, expanded_views=None)
    vars(made).update(features=store(tmp_path), input=of_input, options=options)
    with pytest.raises(IceboxError, match=r"^expected boxes in val, [^\n]*found none in its 2 pictures[^\n]*$"):
        made._load()


def test_a_trained_head_keeps_the_settings_of_the_one_that_it_began_from(tmp_path: Path) -> None:
    started = boxes.build(overlap=0.3, boxes_max=7, width=8)
    started.network_ = torch.nn.Identity()
    trained = job("boxes", started).trained_head(torch.nn.ReLU())
    assert (trained.overlap, trained.boxes_max) == (0.3, 7)
    assert isinstance(trained.network_, torch.nn.ReLU)
    assert isinstance(started.network_, torch.nn.Identity)
    assert job(FRESH, object()).head.get_params() == boxes.build().get_params()
