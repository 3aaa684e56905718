import numpy as np
import pytest
import torch

from icebox.features.nn.normalization import normalize_images, scale_and_shift
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(6, 9), (224, 224), (33, 1), (1, 17)])
def test_bits_are_those_of_one_multiplication_and_addition_in_float32(size, dtype):
    random = np.random.default_rng(0)
    whole = [torch.from_numpy(random.integers(0, 256, (size[0] + 2, size[1] + 5, 3), np.uint8)) for _ in range(3)]
    images = [each[1:-1, 2:-3].permute(2, 0, 1) for each in whole]  # crops, which are not contiguous
    found = normalize_images(images, mean=MEAN, std=STD, dtype=dtype, device="cpu")
    scale, shift = scale_and_shift(tuple(MEAN), tuple(STD), size[1], "cpu")
    for image, values in zip(images, found, strict=True):
        row = torch.addcmul(shift, image.permute(1, 2, 0).reshape(size[0], -1).float(), scale)
        assert torch.equal(values.permute(1, 2, 0).reshape(size[0], -1), row.to(dtype))
