import pytest
import torch

from icebox.features.models.schedules import set_learning_rate, warm_up_cosine


def test_the_rate_rises_linearly_and_falls_along_a_cosine():
    assert [warm_up_cosine(done, 0.5) for done in (0.0, 0.25, 0.5, 0.75, 1.0)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert warm_up_cosine(0.0, 0.0) == 1
    assert warm_up_cosine(1.0, 1.0) == 1


def test_every_group_of_an_optimizer_gets_the_rate():
    one, other = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([{"params": [one]}, {"params": [other], "lr": 2.0}], lr=1.0)
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
