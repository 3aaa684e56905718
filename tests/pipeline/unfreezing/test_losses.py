import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Categorical, kl_divergence

from icebox.features.errors import IceboxError
from icebox.features.nn.layer_outputs import Inputs
from icebox.pipeline.config.unfreeze import UnfreezeOptions
from icebox.pipeline.unfreezing import losses
from icebox.pipeline.unfreezing.losses import Mixture

SCORES = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.0]])
IMAGES = Inputs((torch.zeros(2, 3, 4, 4),))
TOKENS = Inputs((), {"input_ids": torch.zeros(2, 5)})
DROPPING, PLAIN = nn.Dropout(0.1), nn.Linear(2, 2)


def test_the_divergence_is_the_mean_of_torchs_two():
    other = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    p, q = Categorical(logits=SCORES), Categorical(logits=other)
    expected = (kl_divergence(p, q) + kl_divergence(q, p)) / 2
    torch.testing.assert_close(losses.divergence(SCORES, other), expected)
    assert expected[1] == 0


def test_a_mixture_is_the_items_and_their_partners_by_shares_in_images_and_losses():
    mixture = Mixture(torch.tensor([0.75, 1.0]), torch.tensor([1, 0]))
    images = torch.arange(2.0)[:, None, None, None].expand(2, 3, 4, 4)
    assert mixture.images(Inputs((images,))).args[0][:, 0, 0, 0].tolist() == [0.25, 1.0]
    targets, weights = torch.tensor([0, 1]), torch.tensor([1.0, 2.0])
    found = mixture.losses(SCORES, targets, weights)
    rows = SCORES.log_softmax(1)
    expected = torch.stack([-0.75 * rows[0, 0] - 0.25 * 2 * rows[0, 1], -2 * rows[1, 1]])
    torch.testing.assert_close(found, expected)


def test_the_shares_of_a_mixture_are_of_betas_distribution_and_hang_on_the_generator_alone():
    first, same, other = (losses.draw_mixture(4000, 0.4, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.shares, same.shares)
    assert not torch.equal(first.shares, other.shares)
    assert float(first.shares.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(first.shares.var()) == pytest.approx(1 / (4 * 1.8), rel=0.1)  # of Beta(a, a): 1 / (4 (2a + 1))
    assert sorted(first.partners.tolist()) == list(range(4000))


@pytest.mark.parametrize(
    ("settings", "inputs", "model", "classes", "message"),
    [
        ({"augment": ["flip"]}, TOKENS, PLAIN, 2, "augment: expected images"),
        ({"mixup": 0.2}, TOKENS, PLAIN, 2, "mixup: expected images"),
        ({"r_drop": 1.0}, TOKENS, PLAIN, 2, "found none in it"),
        ({"r_drop": 1.0}, TOKENS, DROPPING, 0, "found numbers to regress"),
        ({"r_drop": 1.0, "mixup": 0.2}, IMAGES, DROPPING, 2, "found both"),
    ],
)
def test_options_that_inputs_or_network_do_not_have_are_an_error(settings, inputs, model, classes, message):
    with pytest.raises(IceboxError, match=message):
        losses.check(UnfreezeOptions(**settings), inputs, model, classes=classes)


@pytest.mark.parametrize(
    ("settings", "inputs", "model"),
    [({}, TOKENS, PLAIN), ({"mixup": 0.2, "augment": ["flip"]}, IMAGES, PLAIN), ({"r_drop": 5.0}, TOKENS, DROPPING)],
)
def test_options_that_fit_pass(settings, inputs, model):
    losses.check(UnfreezeOptions(**settings), inputs, model, classes=2)


def test_losses_of_sets_are_the_sum_of_each_labels_and_smoothing_moves_labels_towards_a_half():
    sets = torch.tensor([[1, 0, 1], [0, 0, 0]], dtype=torch.int8)
    p = SCORES.sigmoid()
    expected = -torch.stack([p[0, 0].log() + (1 - p[0, 1]).log() + p[0, 2].log(), (1 - p[1]).log().sum()])
    torch.testing.assert_close(losses.of_items(SCORES, sets), expected)
    smoothed = 0.9 * expected + 0.1 * -(p.log() + (1 - p).log()).sum(1) / 2
    torch.testing.assert_close(losses.of_items(SCORES, sets, label_smoothing=0.1), smoothed)


def test_a_mixture_of_sets_has_the_loss_of_mixed_labels():
    sets = torch.tensor([[1, 0, 1], [0, 1, 1]], dtype=torch.int8)
    mixture = Mixture(torch.tensor([0.75, 1.0]), torch.tensor([1, 0]))
    mixed = torch.tensor([[0.75, 0.25, 1.0], [0.0, 1.0, 1.0]])
    expected = nn.functional.binary_cross_entropy_with_logits(SCORES, mixed, reduction="none").sum(1)
    torch.testing.assert_close(mixture.losses(SCORES, sets, torch.ones(2)), expected)


def test_the_divergence_of_sets_is_the_sum_of_each_labels():
    other = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    p, q = Bernoulli(logits=SCORES), Bernoulli(logits=other)
    expected = ((kl_divergence(p, q) + kl_divergence(q, p)) / 2).sum(1)
    torch.testing.assert_close(losses.divergence(SCORES, other, sets=True), expected)


def test_smoothed_losses_are_torchs_and_those_of_floats_squares():
    targets = torch.tensor([2, 1])
    expected = nn.functional.cross_entropy(SCORES, targets, reduction="none", label_smoothing=0.1)
    torch.testing.assert_close(losses.of_items(SCORES, targets, label_smoothing=0.1), expected)
    values = losses.of_items(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0]))
    np.testing.assert_allclose(values, [1, 4])
