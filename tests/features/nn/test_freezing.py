import pytest
import torch
from torch import nn

from icebox.features.errors import IceboxError
from icebox.features.nn import freezing


def network() -> nn.Module:
    torch.manual_seed(0)
    part = lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))  # noqa: E731
    return nn.Sequential(*(part() for _ in range(4)))


ORDER = ["0", "1", "2", "3"]


def test_a_schedule_holds_until_its_next_entry():
    assert freezing.free_by_epoch({0: "none", 2: "last 1", 4: "all"}, 6) == [
        "none",
        "none",
        "last 1",
        "last 1",
        "all",
        "all",
    ]
    assert freezing.free_by_epoch("last 2", 2) == ["last 2", "last 2"]


@pytest.mark.parametrize("free", [{1: "all"}, {0: "none", 9: "all"}])
def test_a_schedule_begins_at_0_and_ends_before_the_last_epoch(free):
    with pytest.raises(IceboxError, match="epochs from 0 to 2"):
        freezing.free_by_epoch(free, 3)


def test_all_none_last_and_patterns():
    every = {name for name, _ in network().named_parameters()}
    assert freezing.free_parameters("all", network(), ORDER) == every
    assert freezing.free_parameters("none", network(), ORDER) == set()
    assert freezing.free_parameters("last 1", network(), ORDER) == {"3.0.weight", "3.0.bias", "3.1.weight", "3.1.bias"}
    assert freezing.free_parameters(["*.bias", "3.0.*"], network(), ORDER) == {
        *(f"{i}.{j}.bias" for i in range(4) for j in (0, 1)),
        "3.0.weight",
    }


@pytest.mark.parametrize(
    ("free", "message"), [("last 5", "there are 4 blocks"), ("lats 1", "expected all, none"), (["x.*"], "no parameter")]
)
def test_what_can_not_be_freed_is_said(free, message):
    with pytest.raises(IceboxError, match=message):
        freezing.free_parameters(free, network(), ORDER)


def test_only_blocks_that_learn_are_in_training_mode_and_norms_keep_their_statistics():
    net = network()
    free = freezing.free_parameters("last 1", net, ORDER)
    freezing.apply(net, free)
    freezing.set_modes(net, free, ORDER, norm_statistics_frozen=True)
    assert {name for name, p in net.named_parameters() if p.requires_grad} == free
    assert [net[i][2].training for i in range(4)] == [False, False, False, True]
    before = net[3][1].running_mean.clone()
    net(torch.ones(5, 3))
    assert torch.equal(net[3][1].running_mean, before)
    freezing.set_modes(net, free, ORDER, norm_statistics_frozen=False)
    net(torch.ones(5, 3))
    assert not torch.equal(net[3][1].running_mean, before)


def test_dropout_that_lies_in_no_block_drops_where_no_block_is_frozen():
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 3))
    order = ["0", "2"]
    for free, dropping in (("all", True), ("last 1", False), ("none", False)):
        freezing.set_modes(net, freezing.free_parameters(free, net, order), order, norm_statistics_frozen=True)
        assert net[1].training == dropping
