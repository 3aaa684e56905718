import numpy as np
import pytest
import torch

from icebox.features.nn.normalization import normalize_images
from icebox.features.weights import torchvision_models

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def pictures(count: int) -> list[torch.Tensor]:
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 256, (6, 9, 3), dtype=np.uint8) for _ in range(count)]
    return [torch.from_numpy(array).permute(2, 0, 1) for array in arrays]


def trusted(batch: list[torch.Tensor]) -> torch.Tensor:
    functional = torchvision_models.library().transforms.functional
    return functional.normalize(functional.convert_image_dtype(torch.stack(batch), torch.float32), MEAN, STD)


@pytest.mark.parametrize("count", [1, 3])
def test_it_is_torchvisions_with_colours_last_in_memory(count):
    found = normalize_images(pictures(count), mean=MEAN, std=STD, dtype=torch.float32, device="cpu")
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.contiguous(), trusted(pictures(count)), rtol=1e-5, atol=1e-6)


def test_half_precision_is_rounded_once_from_float32():
    found = normalize_images(pictures(2), mean=MEAN, std=STD, dtype=torch.bfloat16, device="cpu")
    exact = normalize_images(pictures(2), mean=MEAN, std=STD, dtype=torch.float32, device="cpu")
    assert torch.equal(found, exact.bfloat16())


def test_pictures_laid_out_otherwise_give_the_same():
    rolled = [picture.contiguous() for picture in pictures(2)]
    one, other = (
        normalize_images(batch, mean=MEAN, std=STD, dtype=torch.float32, device="cpu")
        for batch in (pictures(2), rolled)
    )
    assert torch.equal(one, other)
