import pytest
import torch

from icebox.features.errors import IceboxError
from icebox.features.extraction import precision
from icebox.features.nn import devices


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def apple(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


@pytest.fixture
def processor_only(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("value", ["", " ", "auto", None])
def test_auto_takes_the_gpu(value, two_gpus, monkeypatch):
    if value is None:
        monkeypatch.delenv(devices.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(devices.VARIABLE, value)
    assert devices.default_device() == "cuda"


def test_auto_takes_apples_gpu_and_else_the_processor(apple, request):
    assert devices.resolve("auto") == "mps"
    request.getfixturevalue("processor_only")
    assert devices.resolve("auto") == "cpu"


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_the_variable_names_one_of_several(name, two_gpus, monkeypatch):
    monkeypatch.setenv(devices.VARIABLE, name)
    assert devices.default_device() == name


@pytest.mark.parametrize("name", ["cuda:2", "gpu", "cuda:", "cuda:-1", "CPU", "cpu:0", "mps"])
def test_a_device_that_is_not_here_is_one_line_with_those_that_are(name, two_gpus, monkeypatch):
    monkeypatch.setenv(devices.VARIABLE, name)
    with pytest.raises(IceboxError) as error:
        devices.default_device()
    assert str(error.value) == (
        f"ICEBOX_DEVICE: there is no device '{name}' here; there are: auto, cuda, cuda:0, cuda:1, cpu"
    )


def test_without_a_gpu_cuda_is_refused(processor_only):
    with pytest.raises(IceboxError, match=r"no device 'cuda' here; there are: auto, cpu$"):
        devices.resolve("cuda")


def test_auto_precision_on_apples_gpu_is_the_exact_one(apple):
    assert precision.resolve_for_device("auto", "mps") == "float32"
