import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from icebox.pipeline.unfreezing.weight_averaging import MovingAverage


def stepped(module: nn.Module, seed: int) -> None:
    """As a step changes it: weights, and a batch norm's statistics and count."""
    torch.manual_seed(seed)
    module(torch.randn(4, 3))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))


def test_it_is_torchs_own_average_but_begins_at_the_weights_before_the_first_step():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    mean = MovingAverage(module, 0.9)
    theirs = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    theirs.update_parameters(module)  # torch's begins at the first update
    for seed in range(5):
        stepped(module, seed)
        mean.update()
        theirs.update_parameters(module)
    for name, value in theirs.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(mean.weights[name], value)
    assert mean.weights["1.num_batches_tracked"] == 5


def test_the_module_has_it_only_while_it_is_applied():
    module = nn.Linear(3, 1)
    mean = MovingAverage(module, 0.5)
    before = module.weight.detach().clone()
    stepped(module, 0)
    after = module.weight.detach().clone()
    mean.update()
    with mean.applied():
        torch.testing.assert_close(module.weight.detach(), (before + after) / 2)
    assert torch.equal(module.weight, after)
