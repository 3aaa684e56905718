import numpy as np
import torch

from icebox.pipeline.estimators import torch_settings
from icebox.pipeline.fitting import path_fitting
from icebox.pipeline.heads import linear_probe


def tiny() -> torch.Tensor:
    return torch.tensor([1e-30]) * torch.tensor([1e-10])


def test_what_is_too_small_is_zero_only_while_it_lasts():
    before = tiny().item()
    with torch_settings.flush_denormals():
        assert tiny().item() == 0
    assert tiny().item() == before > 0


def test_training_leaves_the_thread_as_it_was():
    random = np.random.default_rng(0)
    X, y = random.normal(size=(40, 3)).astype(np.float32), np.arange(40) % 2
    list(path_fitting.fit(linear_probe.build, [{"learning_rate": 0.01}], X, y))
    assert tiny().item() > 0
