"""Heads of masks as modules, pictures and masks that are mirrored alike, and where stored activations may begin."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from icebox.features.errors import IceboxError
from icebox.features.nn.layer_outputs import Inputs
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.config.schema import PluginEntry
from icebox.pipeline.data import dense
from icebox.pipeline.dense.base import cell_scores
from icebox.pipeline.fitting import dense_fit, head_factory
from icebox.pipeline.unfreezing.activation_cache import last_block_to_store
from icebox.pipeline.unfreezing.dense import pictures, segmentation
from icebox.pipeline.unfreezing.end_to_end import EndToEndModel
from tests.dense import store

QUICK = {
    "pixel_linear": {"C": 1.0, "share": 0.5},
    "pixel_mlp": {"epochs": 2, "hidden": 8, "share": 0.5},
    "pixel_conv": {"epochs": 2, "width": 8, "layers": 1},
}


@pytest.mark.parametrize("name", QUICK)
def test_a_fitted_head_is_a_module_with_the_same_scores(name: str, tmp_path: Path) -> None:
    data = dense.load(store(tmp_path))
    factory = head_factory.create(
        PluginEntry(name, {}), "segmentation", f"heads.{name}", columns=data.maps.column_ranges
    )
    result = dense_fit.fit_head(factory, [QUICK[name]], data, Fit(choose="miou", seeds=1), where="here")
    head = result.seeds[0].fitted.head
    maps = data.maps.read(data.train[:2], "identity")
    trained = segmentation.TrainedMaps(segmentation.head_module(head).eval())
    np.testing.assert_allclose(trained.predict_maps(maps), cell_scores(head, maps, 3), atol=2e-4)


def test_a_head_of_trees_can_not_become_a_module() -> None:
    with pytest.raises(IceboxError, match="can't become a torch head"):
        segmentation.head_module(object())


def test_an_unfitted_head_begins_with_the_shares_of_the_classes() -> None:
    head = segmentation.fresh_head(torch.rand(2, 5, 3, 4), np.array([30, 60, 10]))
    probabilities = head(torch.rand(1, 5, 2, 2)).softmax(1)
    torch.testing.assert_close(probabilities[0, :, 1, 1], torch.tensor([0.3, 0.6, 0.1]))


def test_pictures_are_mirrored_where_their_masks_are() -> None:
    images = torch.arange(12.0).reshape(2, 1, 2, 3)
    (mirrored,) = pictures.mirror(Inputs((images,)), np.array([False, True])).args
    assert torch.equal(mirrored[0], images[0])
    assert torch.equal(mirrored[1], images[1].flip(-1))


def test_maps_of_several_sizes_are_brought_to_the_finest() -> None:
    model = object.__new__(pictures.EndToEndMaps)
    maps = {"fine": torch.rand(1, 4, 6, 2), "coarse": torch.rand(1, 2, 3, 5)}
    object.__setattr__(model, "layer_outputs", SimpleNamespace(tensors=lambda inputs: maps))
    features = pictures.EndToEndMaps.features(model, Inputs())
    assert features.shape == (1, 7, 4, 6)
    torch.testing.assert_close(features[:, :2], maps["fine"].permute(0, 3, 1, 2))
    assert issubclass(pictures.EndToEndMaps, EndToEndModel)


@pytest.mark.parametrize(
    ("frozen", "outputs", "expected"),
    [
        ("c", ["last"], "c"),
        ("c", ["d:avg"], "c"),
        ("c", ["b:avg", "d:avg"], "a"),  # b's own output is not passed again from what is stored behind it
        ("c", ["a.0:map"], None),
        (None, ["last"], None),
    ],
)
def test_what_is_stored_lies_in_front_of_every_layer_that_heads_see(frozen, outputs, expected) -> None:
    schedule = SimpleNamespace(blocks=["a", "b", "c", "d"], last_frozen_block=frozen)
    assert last_block_to_store(schedule, outputs) == expected
