import pytest
import torch

from icebox.features.nn.layer_outputs import Inputs
from icebox.pipeline.unfreezing.augmentation import AUGMENTATIONS, augment


def pictures(n: int = 40) -> torch.Tensor:
    """White squares in the left half of black pictures."""
    made = torch.zeros(n, 3, 16, 12)
    made[:, :, 4:12, 1:5] = 1
    return made


@pytest.mark.parametrize("kind", sorted(AUGMENTATIONS))
def test_each_kind_keeps_the_shape_and_hangs_on_the_generator_alone(kind):
    first, second, other = (
        augment(Inputs((pictures(),)), kinds=[kind], generator=torch.Generator().manual_seed(seed)).args[0]
        for seed in (0, 0, 1)
    )
    assert first.shape == pictures().shape
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert not torch.equal(first, pictures())
    assert first.min() >= 0
    assert first.max() <= 1


def test_a_flip_mirrors_about_half_of_the_pictures():
    (found,) = augment(Inputs((pictures(400),)), kinds=["flip"], generator=torch.Generator().manual_seed(0)).args
    mirrored = (found == pictures(1).flip(-1)).flatten(1).all(1)
    assert 150 < int(mirrored.sum()) < 250
    assert ((found == pictures(1)).flatten(1).all(1) | mirrored).all()


def test_a_turn_by_nothing_or_a_crop_of_the_whole_is_the_picture_itself(monkeypatch):
    monkeypatch.setattr("icebox.pipeline.unfreezing.augmentation.ANGLE_MAX", 0)
    monkeypatch.setattr("icebox.pipeline.unfreezing.augmentation.SCALE_MIN", 1)
    (found,) = augment(Inputs((pictures(),)), kinds=["turn", "crop"], generator=torch.Generator()).args
    torch.testing.assert_close(found, pictures(), atol=1e-5, rtol=0)
