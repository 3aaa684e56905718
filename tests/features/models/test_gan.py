import pytest
import torch
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from icebox.features.backbones import cgan
from icebox.features.models import gan
from icebox.features.models.gan import Critic, gradient_penalty
from tests import learnable


def test_the_penalty_of_a_linear_critic_is_how_far_its_slope_is_from_1():
    slope = torch.tensor([3.0, 4.0])  # of length 5, everywhere
    real, made = torch.rand(6, 2), torch.rand(6, 2)
    assert gradient_penalty(lambda x: x @ slope, real, made).item() == pytest.approx(16)
    assert gradient_penalty(lambda x: x @ slope / 5, real, made).item() == pytest.approx(0, abs=1e-10)


def test_the_penalty_is_taken_between_the_real_and_the_made_ones():
    real, made = torch.full((5, 1), 2.0), torch.full((5, 1), 4.0)
    torch.manual_seed(0)
    share = torch.rand(5, 1)
    torch.manual_seed(0)
    found = gradient_penalty(lambda x: (x**2).sum(1), real, made)  # slope 2x
    assert found.item() == pytest.approx(((2 * (share * 2 + (1 - share) * 4) - 1) ** 2).mean().item())


def test_the_penalty_can_be_learnt_from():
    weight = torch.tensor([2.0], requires_grad=True)
    gradient_penalty(lambda x: (x * weight).sum(1), torch.rand(3, 1), torch.rand(3, 1)).backward()
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(2)  # of (w - 1)²


def test_the_original_losses_are_cross_entropies_and_the_others_differences():
    real, made = torch.randn(7), torch.randn(7)
    entropy = F.binary_cross_entropy_with_logits
    expected = entropy(real, torch.ones(7)) + entropy(made, torch.zeros(7))
    torch.testing.assert_close(gan.CRITIC_LOSSES["original"](real, made), expected)
    torch.testing.assert_close(gan.GENERATOR_LOSSES["original"](made), entropy(made, torch.ones(7)))
    assert gan.CRITIC_LOSSES["wgan-gp"](real, made) == -(real.mean() + gan.GENERATOR_LOSSES["wgan-gp"](made))


def test_the_label_counts_in_the_score_and_in_the_picture_but_not_in_the_features():
    torch.manual_seed(0)
    pictures, zeros, ones = torch.rand(3, 1, 28, 28), torch.zeros(3, dtype=torch.long), torch.ones(3, dtype=torch.long)
    told, untold = Critic(d=8, width=2, classes=2), Critic(d=8, width=2, classes=0)
    assert (told(pictures, zeros) != told(pictures, ones)).all()
    assert (untold(pictures, zeros) == untold(pictures, ones)).all()
    generator = gan.GanGenerator(z=4, width=2, classes=2).eval()
    codes = torch.randn(3, 4)
    assert (generator(codes, zeros) != generator(codes, ones)).any()


def test_with_gradient_penalty_the_other_network_steps_after_several_of_the_critics():
    learner = cgan.pretraining(
        data=learnable.pictures(), loss="wgan-gp", critic_steps=3, steps=3, batch_size=4, z=4, d=8, width=2
    )
    weight = next(learner.networks.artist.parameters())
    before = weight.detach().clone()
    learner.step(0), learner.step(1)
    assert torch.equal(weight, before)
    learner.step(2)
    assert not torch.equal(weight, before)


def test_a_short_trainings_average_is_not_mostly_the_network_of_its_first_step():
    network = torch.nn.Linear(1, 1, bias=False)
    averaged = AveragedModel(network, multi_avg_fn=gan.update_average)
    found = []
    for weight in (11.0, 22.0, 44.0):
        network.weight.data.fill_(weight)
        averaged.update_parameters(network)
        found.append(averaged.module.weight.item())
    assert found == pytest.approx([11, 11 * 2 / 11 + 22 * 9 / 11, 20 * 3 / 12 + 44 * 9 / 12])
    averaged.n_averaged.fill_(10**6)
    network.weight.data.fill_(1038.0)
    averaged.update_parameters(network)
    assert averaged.module.weight.item() == pytest.approx(39)  # a thousandth of the way from 38
