import pytest
import torch

from icebox.features.nn.transfer import to_device_async, to_host_async

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    return request.param


def test_what_is_sent_and_comes_back_is_the_same(device):
    batches = [torch.arange(i, i + 1_000_000, dtype=torch.float32).view(1000, 1000) for i in range(8)]
    on_their_way = [to_host_async({"twice": to_device_async(batch, device) * 2}) for batch in batches]
    for batch, wait in zip(batches, on_their_way, strict=True):
        assert torch.equal(wait()["twice"], batch * 2)


def test_on_the_processor_nothing_is_copied():
    batch = torch.ones(3)
    assert to_device_async(batch, "cpu") is batch


def test_colours_last_in_memory_stay_so(device):
    pictures = torch.rand(2, 3, 5, 5).contiguous(memory_format=torch.channels_last)
    (found,) = to_host_async({"pictures": to_device_async(pictures, device)})().values()
    assert torch.equal(found, pictures)
